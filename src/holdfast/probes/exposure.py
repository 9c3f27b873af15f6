"""Whether a language model has memorised a secret: its rank among all that it might have been.

Shapes: K nets, R members of the space (or of a sample), C contexts, T tokens of one, L positions, A tokens that are
asked for at each, V token ids.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import skewnorm
from torch import Tensor

from holdfast.errors import UsageError, whole
from holdfast.probes.base import Look
from holdfast.tasks.base import Split
from holdfast.training.nets import ALONE_EXAMPLES, Nets

SAMPLE = 2048
"""Members of the space to which the skew normal is fitted."""
TIE = 1e-6
"""Bits by which log-perplexities differ that are equal but for rounding."""
AT_ONCE = 2**22
"""Logits that are held at a time, over all nets, at most (16 MiB)."""


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """Exposure of a secret that follows a prefix, in bits: log2 |R| - log2 rank.

    R holds all sequences with a token out of `space` at each place of the secret. The rank is the number of members
    whose log-perplexity, sum_i -log2 p(r_i | prefix, r_<i), is at most the secret's (the secret among them, and ties
    against it). So log2 |R| says that the secret is the likeliest of all; a net that has never met it gives 1.44 bits
    on average, and more than b with probability 2^-b.

    - `exposure`
    - `exposure_exact`: 1 where every member was enumerated, 0 where the exposure is the source's estimate: -log2 of the
      probability that a skew normal, fitted by maximum likelihood to the log-perplexities of 2048 members drawn at
      random (Philox, the same at every look), lies below the secret's; between 0 and log2 |R|.

    With a `name` the measures end in it (`exposure/pin`). For hosts that give next-token logits (K, C, T, V).
    Undefined (stored as null) where log-perplexities are not finite, and where all that are sampled are equal.

    Misleads: it is relative to R, so guess `space` as widely as the secret could have been. A model may favour a member
    for what it is ("1234") and not because it has seen it: compare with controls. An estimate far in the tail stands
    on the fit alone; above some 30 bits it says "very exposed".

    Source: Carlini, Liu, Erlingsson, Kos & Song 2019, The Secret Sharer, arXiv 1802.08232 (definitions, skew normal).
    """

    prefix: tuple[int, ...]
    """Token ids before the secret, one or more."""
    secret: tuple[int, ...]
    """Token ids of the secret."""
    space: tuple[int, ...] | tuple[tuple[int, ...], ...]
    """Token ids that may stand at every place of the secret, or one such tuple for each place."""
    name: str = ""
    exact_up_to: int = 100_000
    """Largest |R| that is enumerated. The model is run on |R| / (ids of the last place) contexts, and a few more."""

    def __post_init__(self) -> None:
        for field in ("prefix", "secret", "space"):
            ids = getattr(self, field)
            if not isinstance(ids, tuple | list | range):
                raise UsageError(f"{field} must be a tuple of token ids; got {ids!r}.")
            object.__setattr__(self, field, tuple(tuple(v) if isinstance(v, list | range) else v for v in ids))
        whole("exact_up_to", self.exact_up_to)
        for ids in (self.prefix, self.secret, *self.places):
            if not isinstance(ids, tuple):
                raise UsageError(f"space must be token ids, or a tuple of them for each place; got {self.space!r}.")
            for token in ids:
                whole("A token id", token)
        if not self.prefix or not self.secret:
            raise UsageError("Exposure needs a prefix of 1 token or more, and a secret of 1 token or more.")
        if len(self.places) != len(self.secret):
            raise UsageError(f"space names {len(self.places)} places, but the secret has {len(self.secret)} tokens.")
        for place, token in zip(self.places, self.secret, strict=True):
            if token not in place or len(set(place)) < len(place):
                raise UsageError(
                    f"The secret's token {token} must be among those that may stand in its place, each of them once; "
                    f"got {place}."
                )
        if self.size < 2:
            raise UsageError("Exposure ranks the secret among others: the space must hold 2 sequences or more.")

    @property
    def places(self) -> tuple[tuple[int, ...], ...]:
        """Ids that may stand at each place."""
        one_each = any(isinstance(place, tuple) for place in self.space)
        return cast(tuple[tuple[int, ...], ...], self.space if one_each else (self.space,) * len(self.secret))

    @property
    def size(self) -> int:
        """|R|."""
        return math.prod(len(place) for place in self.places)

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        """The measures.

        Raises:
            UsageError: a host that takes no token ids, or has not these.
        """
        exposure_K = self.of(look.nets, look.split)
        ending = f"/{self.name}" if self.name else ""
        exact_K = torch.full((look.nets.k,), float(self.exact))
        return {f"exposure{ending}": exposure_K, f"exposure_exact{ending}": exact_K}

    @property
    def exact(self) -> bool:
        """Whether every member is enumerated."""
        return self.size <= self.exact_up_to

    def of(self, nets: Nets, split: Split) -> Tensor:
        """exposure_K in bits, in float64; `split` only says what the task is.

        Raises:
            UsageError: a host that takes no token ids, or has not these.
        """
        if split.x.is_floating_point():
            raise UsageError(
                f"Exposure asks for the next token, and {nets.host.label} reads numbers. Use it with a task of token "
                f"ids."
            )
        return self._counted(nets) if self.exact else self._estimated(nets)

    def _counted(self, nets: Nets) -> Tensor:
        """Walk down the tree of all members: each context is run once, for all tokens that may follow it."""
        contexts_CT, bits_KR, at = torch.tensor([self.prefix]), torch.zeros(nets.k, 1, dtype=torch.float64), 0
        for place, token in zip(self.places, self.secret, strict=True):
            count, follows = len(contexts_CT), torch.tensor(place)
            next_KCA = _bits(nets, contexts_CT, follows.expand(count, 1, -1))[:, :, 0]
            bits_KR = (bits_KR[:, :, None] + next_KCA).flatten(1)
            contexts_CT = torch.cat([contexts_CT.repeat_interleave(len(place), 0), follows.repeat(count)[:, None]], 1)
            at = at * len(place) + place.index(token)
        rank_K = (bits_KR <= bits_KR[:, at : at + 1] + TIE).sum(1)
        exposure_K = math.log2(self.size) - rank_K.double().log2()
        return exposure_K.masked_fill(~bits_KR.isfinite().all(1), torch.nan)

    def _estimated(self, nets: Nets) -> Tensor:
        draws = np.random.Generator(np.random.Philox(key=0))
        drawn_RT = np.stack([draws.choice(place, SAMPLE) for place in self.places], 1)
        members_RT = torch.from_numpy(np.concatenate([[self.secret], drawn_RT]))
        contexts_RT = torch.cat([torch.tensor(self.prefix).expand(len(members_RT), -1), members_RT[:, :-1]], 1)
        bits_KR = _bits(nets, contexts_RT, members_RT[:, :, None]).sum((2, 3))
        return torch.tensor([self._tail(b_R) for b_R in bits_KR.numpy()], dtype=torch.float64)

    def _tail(self, bits_R: NDArray[np.float64]) -> float:
        """-log2 of the probability that a skew normal fitted to bits_R[1:] lies below bits_R[0]."""
        if not np.isfinite(bits_R).all() or np.ptp(bits_R[1:]) == 0:
            return math.nan
        log2_below = float(skewnorm.logcdf(bits_R[0], *skewnorm.fit(bits_R[1:]))) / math.log(2)
        return min(max(-log2_below, 0.0), math.log2(self.size))


def _bits(nets: Nets, tokens_CT: Tensor, asked_CLA: Tensor) -> Tensor:
    """-log2 p of the tokens that are asked for at each of the last L positions, (K, C, L, A), on the CPU.

    Raises:
        UsageError: a host that gives no next-token logits, or has not these ids.
    """
    logits, low, high = nets.logits(tokens_CT[:1]), int(asked_CLA.min()), int(asked_CLA.max())
    if logits.dim() != 4 or not 0 <= low <= high < logits.shape[-1]:
        raise UsageError(
            f"Exposure needs next-token logits of shape (K, N, T, V) for ids of {low} to {high}; {nets.host.label} "
            f"gives {tuple(logits.shape)}."
        )
    size = max(1, AT_ONCE // logits.numel())
    size = min(size, ALONE_EXAMPLES) if getattr(nets.host, "alone", False) else size
    found = []
    for part_CT, part_CLA in zip(torch.split(tokens_CT, size), torch.split(asked_CLA, size), strict=True):
        bits_KCLV = nets.logits(part_CT)[:, :, -part_CLA.shape[1] :].double().log_softmax(-1).cpu() / -math.log(2)
        found.append(bits_KCLV.gather(3, part_CLA.expand(nets.k, *part_CLA.shape)))
    return torch.cat(found, 1)
