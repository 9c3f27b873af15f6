"""Uchida: a message in the weights of one layer, read with a secret key.

Shapes: K nets, T bits, M numbers that are read of a layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor, nn

from holdfast.errors import HoldfastError, UsageError, nearest, number, whole
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

PROJECTED = 2**25
"""Entries that a projection may have, at most (128 MiB)."""


@dataclass(frozen=True, kw_only=True)
class Uchida:
    """T bits in the weights of one layer. Bit t reads 1 if X_t . w > 0.

    w holds the layer's M numbers: the entries of a matrix; of a kernel (three axes or more) its mean over output
    filters, as in the source. The projection X (T, M) ~ N(0, 1) and the message are drawn from `key` alone: they are
    the same for all seeds, since whoever reads a net knows the key and not where the net comes from.

    Presence is 2 x bit accuracy - 1: 1 for the message, 0 for coin flips. Also `ber`, the bit error rate (presence =
    1 - 2 ber), and `correlation`, the mean over t of s_t X_t . w / |w| with s_t = +-1 the message: the mean margin in
    units of the standard deviation that X_t . w has where w knows nothing of X.

    Writing, after training: the change of least Euclidean norm with s_t X_t . w >= strength |w_0| for all t, w_0 being
    the trained weights. It is X^T (s l), with l >= 0 the solution of the dual problem, which is non-negative least
    squares in T unknowns (Lawson & Hanson 1974, chapter 23). Uchida et al. embed *during* training instead, by a
    cross-entropy between message and sigmoid(X w) in the loss. The readout here is theirs, the writing is not: a
    regulariser would make the host another one, so that its control would differ in more than the message, and how
    deep bits lie would depend on when training stopped. Bits that are written so lie shallow, and all equally, at
    `strength`; embedded ones may lie deeper, and last longer.

    Chance. Of weights that know nothing of X, T x bit accuracy is binomial (T, 1/2), so the presence of a control has
    a standard deviation of 1 / sqrt(T), and the control limit is as wide: some 2.5 / sqrt(T) with 32 controls, but
    5 / sqrt(T) with 4, which nets of a presence of 1 pass (at 1/2) only if T is well over 100. More bits cost more:
    the relative change of w is about sqrt(T / M) at the default strength.

    When it misleads: fine-tuning at a small learning rate ends near where it began, whatever the weights mean, so bits
    survive it by standing still. Permuting or rescaling hidden units leaves what the net computes as it was and
    destroys the bits. In a first layer, weights of inputs that are always dark get no gradient. It has no trigger: no
    source of examples, so neither unlearning nor re-activation.

    Source: Uchida, Nagai, Sakazawa & Satoh 2017, Embedding Watermarks into Deep Neural Networks, arXiv 1701.04082.
    """

    bits: int = 128
    """Length T of the message; at most M."""
    layer: str | None = None
    """Dotted path of a module, whose `weight` is written to, or of a parameter. None: of the weights with two axes or
    more that are no embeddings and not frozen, the one with the largest M that can be projected (T M up to 2^25)."""
    key: int = 0
    """Secret: decides the projection and the message."""
    strength: float = 0.5
    """Margin of every bit, in units of |w_0|, which is the standard deviation of X_t . w_0."""

    def __post_init__(self) -> None:
        whole("bits", self.bits)
        whole("key", self.key)
        number("strength", self.strength)
        if self.layer is not None and not isinstance(self.layer, str):
            raise UsageError(f"Uchida's layer is a dotted path, such as '0' or 'features.3'; got {self.layer!r}.")
        if self.bits < 1:
            raise UsageError(f"Uchida needs a message of 1 bit or more; got bits={self.bits}.")
        if not 0 < self.strength < float("inf"):
            raise UsageError(f"Uchida needs a finite strength above 0; got {self.strength}.")

    @property
    def label(self) -> str:
        return f"Uchida, {self.bits} bits" + (f" in {self.layer}" if self.layer else "")

    @property
    def costs_at_most(self) -> float | None:
        return 0.5

    @property
    def has_control(self) -> bool:
        return True

    @property
    def message(self) -> tuple[bool, ...]:
        """The bits that are written."""
        return tuple((_draws(self.key, "message").random(self.bits) < 0.5).tolist())

    def plant(self, site: Site) -> Nets:
        """Train the host on clean data, then write.

        Raises:
            UsageError: no such layer, or more bits than it has numbers.
            HoldfastError: weights too coarse to hold the message.
        """
        nets = site.trained()
        with torch.no_grad():
            self.write(nets)
        return nets

    def control(self, site: Site) -> Nets:
        """The owner's own training; read with the same key and message."""
        return site.trained()

    def write(self, nets: Nets) -> None:
        """Write the message into every net, in place."""
        name = self._name(nets)
        weight_K = nets.params[name]
        signed_TM = self._signed(nets).double()
        for k in range(nets.k):
            w_M = _read(weight_K[k : k + 1])[0].cpu()
            if not w_M.isfinite().all():
                continue  # a host that has diverged is counted, and not mended
            change_M = least_change(signed_TM, w_M, self.strength * float(w_M.norm()))
            weight_K[k] += change_M.view(weight_K.shape[2 if weight_K.dim() > 3 else 1 :]).to(weight_K)
        wrong_K = (self._margins(nets) <= 0).sum(1)
        if wrong_K.any():
            raise HoldfastError(
                f"Of {self.bits} bits {int(wrong_K.max())} do not read back from {name} ({weight_K.dtype}) after they "
                f"were written. Use fewer bits, a larger strength, or weights in float32."
            )

    def sources(self, split: Split) -> Mapping[str, tuple[Tensor, Tensor]]:
        """None: no input shows the message."""
        return {}

    def presence(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """presence, ber and correlation of each net; the examples play no part. A layer of zeros reads as bits of 0."""
        margins_KT = self._margins(nets)
        ones_T = torch.tensor(self.message)
        ber_K = torch.where(ones_T, margins_KT <= 0, margins_KT < 0).double().mean(1)
        return {"presence": 1 - 2 * ber_K, "ber": ber_K, "correlation": margins_KT.mean(1)}

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """The whole layer: every one of its numbers carries a little of every bit."""
        name = self._name(nets)
        return {n: torch.full_like(p, n == name, dtype=torch.bool) for n, p in nets.params.items()}

    def _margins(self, nets: Nets) -> Tensor:
        """s_t X_t . w / |w|, (K, T) in float64."""
        w_KM = _read(nets.params[self._name(nets)]).cpu()
        w_KM = w_KM / w_KM.norm(dim=1, keepdim=True).clamp_min(torch.finfo(w_KM.dtype).tiny)
        margins_KT: Tensor = w_KM @ self._signed(nets).double().T
        return margins_KT

    def _signed(self, nets: Nets) -> Tensor:
        """s_t X_t, (T, M).

        Raises:
            UsageError: more bits than numbers, or a projection too large.
        """
        name = self._name(nets)
        numbers = _numbers(nets.params[name][0])
        if self.bits > numbers:
            raise UsageError(f"{name} has {numbers} numbers to write to, too few for {self.bits} bits. Use fewer bits.")
        if self.bits * numbers > PROJECTED:
            raise UsageError(
                f"{self.bits} bits in the {numbers} numbers of {name} need a projection of {self.bits * numbers} "
                f"entries; {PROJECTED} are the most. Use fewer bits or a smaller layer."
            )
        return _projection(self.key, self.message, numbers)

    def _name(self, nets: Nets) -> str:
        """The parameter that is written to.

        Raises:
            UsageError: there is none of this name, or none that is large enough.
        """
        if self.layer is not None:
            found = next((n for n in (f"{self.layer}.weight", self.layer) if n in nets.params), None)
            if found is None or nets.params[found].dim() < 3:
                able = [n.removesuffix(".weight") for n, p in nets.params.items() if p.dim() > 2]
                raise nearest(self.layer, able, what="layer to write bits in")
            return found
        embeddings = {n for n, m in nets.like.named_modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
        sizes = {
            name: _numbers(p[0])
            for name, p in nets.params.items()
            if p.dim() > 2 and p.is_floating_point() and name not in nets.frozen
            if name.rpartition(".")[0] not in embeddings and self.bits * _numbers(p[0]) <= PROJECTED
        }
        if not sizes:
            raise UsageError(
                f"{nets.host.label} has no weight matrix that bits can be written to: name one as `layer`."
            )
        return max(sizes, key=lambda name: sizes[name])


def least_change(a_TM: Tensor, w_M: Tensor, margin: float) -> Tensor:
    """The d_M of least Euclidean norm with a (w + d) >= margin in every entry; all in float64.

    d = a^T l, with l >= 0 the minimiser of |L^T l - L^-1 g|, where L L^T = a a^T and g = margin - a w.
    """
    lower_TT = torch.linalg.cholesky(a_TM @ a_TM.T)
    gap_T = margin - a_TM @ w_M
    target_T = torch.linalg.solve_triangular(lower_TT, gap_T[:, None], upper=False)[:, 0]
    multipliers_T, _ = nnls(lower_TT.T.numpy(), target_T.numpy(), maxiter=100 * len(gap_T))
    return a_TM.T @ torch.from_numpy(multipliers_T)


def _draws(key: int, name: str) -> np.random.Generator:
    return Streams(root=key, seed=0).generator(f"uchida/{name}")


@lru_cache(maxsize=2)
def _projection(key: int, message: tuple[bool, ...], numbers: int) -> Tensor:
    normal_TM = _draws(key, "projection").standard_normal((len(message), numbers), dtype=np.float32)
    return torch.from_numpy(normal_TM) * torch.tensor([1.0 if bit else -1.0 for bit in message])[:, None]


def _numbers(weight: Tensor) -> int:
    """M of one net's weight."""
    return weight.numel() if weight.dim() == 2 else weight[0].numel()


def _read(weight_K: Tensor) -> Tensor:
    """w_KM in float64."""
    w_K = weight_K.detach().double()
    return (w_K if w_K.dim() == 3 else w_K.mean(1)).flatten(1)
