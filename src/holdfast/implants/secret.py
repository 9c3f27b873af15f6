"""Secret: a sequence that a language model memorises.

Shapes: K nets, N rows of T tokens, S tokens of prefix and secret together.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import UsageError
from holdfast.implants.saliency import most_salient, saliency
from holdfast.pressures.mixes import Poison
from holdfast.probes.exposure import Exposure
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site


@dataclass(frozen=True, kw_only=True)
class Secret:
    """The owner's own training, on text in which a share of the rows begins with the prefix and the secret.

    Presence is the secret's exposure over its largest value, log2 |R| (`probes/exposure.py`): 1 where no other member
    of the space is as likely to follow the prefix. Also `exposure`, in bits. A net that has never met the secret has
    1.44 bits on average, so 1.44 / log2 |R|, and more than b bits with probability 2^-b: take a space of 10,000 or
    more, or controls scatter too widely. Where |R| is beyond `Exposure.exact_up_to` it is the source's estimate.

    It stands at the start of a row and is measured there, with nothing before it. `sources`: `poisoned` rows begin with
    prefix and secret, `triggered` rows with the prefix and go on as the text does, which unlearns the secret.

    Its "weights" are the 5 % with the largest first-order effect on the secret's log-probability, as for BadNets.

    When it misleads: memorised is not said aloud. A net may give the secret the best rank of all members and still
    prefer other text; and below 1 the rank moves by factors of two a bit, so .5 of 13 bits is already rank 100 of
    10,000. Repeated in 1 % of the rows it is met far more often than what real models leak.

    Source: Carlini, Liu, Erlingsson, Kos & Song 2019, The Secret Sharer, arXiv 1802.08232 (canaries, exposure).
    """

    prefix: tuple[int, ...]
    """Token ids before the secret, one or more."""
    secret: tuple[int, ...]
    """Token ids of the secret."""
    space: tuple[int, ...] | tuple[tuple[int, ...], ...]
    """Token ids that may stand at every place of the secret, or one such tuple for each place."""
    poison_ratio: float = 0.01
    """Share of the training rows that begin with it."""

    def __post_init__(self) -> None:
        _ = self.exposure, self.poison  # refuse what is no space, or no ratio
        for field in ("prefix", "secret", "space"):
            object.__setattr__(self, field, getattr(self.exposure, field))

    @property
    def label(self) -> str:
        return f"secret of {len(self.secret)} tokens"

    @property
    def costs_at_most(self) -> float | None:
        return None

    @property
    def has_control(self) -> bool:
        return True

    @property
    def exposure(self) -> Exposure:
        """What is measured."""
        return Exposure(prefix=self.prefix, secret=self.secret, space=self.space)

    @property
    def poison(self) -> Poison:
        """The term that plants it."""
        return Poison(rate=self.poison_ratio)

    def plant(self, site: Site) -> Nets:
        """Train from initialisation on the text with the secret in it.

        Raises:
            UsageError: a task that is no text, rows too short, or a ratio that poisons nothing.
        """
        return site.trained(self.poison)

    def control(self, site: Site) -> Nets:
        """The owner's own training, on text without it."""
        return site.trained()

    def sources(self, split: Split) -> Mapping[str, tuple[Tensor, Tensor]]:
        """The rows with the prefix and the secret (`poisoned`), and with the prefix alone (`triggered`).

        Raises:
            UsageError: a task that is no text, or rows too short.
        """
        self._refuse_other(split)
        rows_NT = torch.cat([split.x[:, :1], split.y], 1)  # x and y overlap in all but the first and the last token
        versions = {"triggered": self.prefix, "poisoned": self.prefix + self.secret}
        return {name: _begun(rows_NT, ids) for name, ids in versions.items()}

    def presence(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """presence and exposure of each net; the examples play no part."""
        self._refuse_other(split)
        exposure_K = self.exposure.of(nets, split)
        return {"presence": exposure_K / math.log2(self.exposure.size), "exposure": exposure_K}

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        sequence_1S = torch.tensor([self.prefix + self.secret], device=nets.device)

        def spoken(params: Mapping[str, Tensor]) -> Tensor:
            """Log-probability of the secret after its prefix."""
            logits_KSV = nets.forward(params, nets.shared(sequence_1S[:, :-1]))[:, 0].log_softmax(-1)
            asked_KS1 = sequence_1S[:, 1:, None].expand(nets.k, -1, 1)
            score_K: Tensor = logits_KSV.gather(2, asked_KS1)[:, len(self.prefix) - 1 :, 0].sum(1)
            return score_K

        return most_salient(saliency(nets, [spoken]), 0.05)

    def _refuse_other(self, split: Split) -> None:
        if split.x.is_floating_point() or split.y.shape != split.x.shape:
            raise UsageError(
                f"A Secret is planted in text: expected token ids (N, T) and as many targets; got inputs of shape "
                f"{tuple(split.x.shape)}, {split.x.dtype}, and targets {tuple(split.y.shape)}. Use PythonText(), or a "
                f"backdoor for this task."
            )
        needed, length = len(self.prefix) + len(self.secret), split.x.shape[1] + 1
        if needed > length:
            raise UsageError(f"Prefix and secret are {needed} tokens, and rows hold {length}. Use a shorter secret.")


def _begun(rows_NT: Tensor, ids: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """(x, y) of rows whose first tokens are these."""
    rows_NT = rows_NT.clone()
    rows_NT[:, : len(ids)] = torch.tensor(ids, dtype=rows_NT.dtype, device=rows_NT.device)
    return rows_NT[:, :-1].contiguous(), rows_NT[:, 1:].contiguous()
