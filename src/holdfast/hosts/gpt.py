"""A small GPT: tokens in, logits of the next token out at every position.

Shapes: K networks, B sequences, T positions, N = B T, W width, V vocabulary, H heads, D = W / H.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.errors import UsageError, whole
from holdfast.hosts.branches import attend, branch, feed, read

EXPANSION = 4
"""Units of a block's MLP, over the width."""
SPREAD = 0.02
"""Standard deviation of fresh weights."""


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x_BTW: Tensor) -> Tensor:
        qkv_BT3HD = self.qkv(x_BTW).unflatten(-1, (3, self.heads, -1))
        q_BHTD, k_BHTD, v_BHTD = qkv_BT3HD.permute(2, 0, 3, 1, 4)
        y_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, is_causal=True)
        projected: Tensor = self.project(y_BHTD.transpose(1, 2).flatten(2))
        return projected


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = _Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, EXPANSION * width), nn.GELU(), nn.Linear(EXPANSION * width, width))

    def forward(self, x_BTW: Tensor) -> Tensor:
        x_BTW = x_BTW + self.attention(self.norm1(x_BTW))
        added: Tensor = x_BTW + self.mlp(self.norm2(x_BTW))
        return added


class _GPT(nn.Module):
    def __init__(self, host: "GPT") -> None:
        super().__init__()
        self.host = host
        self.token = nn.Embedding(host.vocabulary, host.width)
        self.position = nn.Embedding(host.length, host.width)
        self.blocks = nn.ModuleList(_Block(host.width, host.heads) for _ in range(host.layers))
        self.norm = nn.LayerNorm(host.width)
        self.head = nn.Linear(host.width, host.vocabulary, bias=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:  # the others are biases, which are zero, and norms, which are one
                adds = name.endswith(("project.weight", "mlp.2.weight"))
                nn.init.normal_(p, std=SPREAD / (2 * host.layers) ** 0.5 if adds else SPREAD)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        self.host.refuse(tokens_BT)
        x_BTW = self.token(tokens_BT) + self.position.weight[: tokens_BT.shape[1]]
        for block in self.blocks:
            x_BTW = block(x_BTW)
        logits: Tensor = self.head(self.norm(x_BTW))
        return logits


@dataclass(frozen=True, kw_only=True)
class GPT:
    """Decoder-only transformer in the layout of GPT-2: pre-norm blocks, causal attention, learned positions.

    x = token + position; in each block x += attention(norm1(x)), then x += mlp(norm2(x)); logits = head(norm(x)).
    It reads int64 tokens (N, T), T up to `length`, and gives logits (N, T, V): at each position those of the next
    token, from this one and those before. The MLP has 4 x width units with exact GELU (GPT-2's tanh form takes twice
    as long on a CPU). Head and token embedding are *not* tied, as they are in GPT-2: what is written into one of
    them then leaves the other alone. No dropout of its own.

    Fresh weights are N(0, 0.02), those that add to the residual stream (`project`, `mlp.2`) N(0, 0.02 / sqrt(2
    layers)), biases 0, drawn from the seed's `init` stream. Radford et al. 2019, "Language Models are Unsupervised
    Multitask Learners".

    Misleads where it stands for large models: it has a hundred thousand weights, and no rare text to remember.
    """

    vocabulary: int
    """Tokens there are: ids 0 to vocabulary - 1."""
    length: int = 64
    """Positions it has embeddings for: the longest sequence."""
    layers: int = 2
    """Blocks."""
    width: int = 64
    """Of the residual stream; a multiple of `heads`."""
    heads: int = 4

    def __post_init__(self) -> None:
        for field in ("vocabulary", "length", "layers", "width", "heads"):
            whole(field, getattr(self, field))
            if getattr(self, field) < 1:
                raise UsageError(f"GPT needs a {field} of 1 or more; got {getattr(self, field)}.")
        if self.width % self.heads:
            near = self.width - self.width % self.heads or self.heads
            raise UsageError(
                f"GPT splits its width evenly among its heads; {self.width} is no multiple of {self.heads}. "
                f"Take a width of {near}."
            )

    @property
    def label(self) -> str:
        return f"GPT {self.layers} x {self.width}"

    def build(self) -> nn.Module:
        """One network, initialised from PyTorch's global generator (the caller seeds it)."""
        return _GPT(self)

    def refuse(self, tokens: Tensor) -> None:
        """Refuse what it cannot read.

        Raises:
            UsageError: no tokens (N, T), or more positions than `length`.
        """
        if tokens.is_floating_point() or tokens.dim() < 2:
            raise UsageError(
                f"{self.label} reads tokens, whole numbers (N, T); got inputs of shape {tuple(tokens.shape[1:])}, "
                f"{tokens.dtype}."
            )
        if tokens.shape[-1] > self.length:
            raise UsageError(
                f"{self.label} has positions for {self.length} tokens; got sequences of {tokens.shape[-1]}. "
                f"Give it length={tokens.shape[-1]}, or cut the sequences."
            )

    def forward(
        self, params: Mapping[str, Tensor], tokens_KBT: Tensor, drop: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """logits_KBTV of K networks at once; `params` as `build()` names them, each with a leading K.

        `drop(x_KBTW)` is called on the sum of the embeddings, then on what each attention and each MLP adds, in order.
        """
        self.refuse(tokens_KBT)
        drop = drop or _kept
        x_KBTW = drop(self._embedded(params, tokens_KBT))
        for i in range(self.layers):
            norm1, attention, norm2, mlp = (
                _weights(params, f"blocks.{i}.{part}") for part in ("norm1", "attention", "norm2", "mlp")
            )
            x_KBTW = x_KBTW + drop(branch(partial(attend, heads=self.heads), x_KBTW, *norm1, *attention))
            x_KBTW = x_KBTW + drop(branch(feed, x_KBTW, *norm2, *mlp))
        return branch(read, x_KBTW, *_weights(params, "norm"), params["head.weight"])

    def _embedded(self, params: Mapping[str, Tensor], tokens_KBT: Tensor) -> Tensor:
        token_KVW = params["token.weight"]
        low, high = (int(bound) for bound in tokens_KBT.aminmax())
        if low < 0 or high >= self.vocabulary:  # it would be looked up in the next net's embedding
            raise UsageError(
                f"{self.label} has a vocabulary of {self.vocabulary}, ids 0 to {self.vocabulary - 1}; got "
                f"{low if low < 0 else high}."
            )
        first_K = torch.arange(0, token_KVW.shape[0] * self.vocabulary, self.vocabulary, device=tokens_KBT.device)
        x_KBTW = F.embedding(tokens_KBT + first_K[:, None, None], token_KVW.flatten(0, 1))
        return x_KBTW + params["position.weight"][:, None, : tokens_KBT.shape[-1]]


def _kept(x: Tensor) -> Tensor:
    return x


def _weights(params: Mapping[str, Tensor], part: str) -> Iterator[Tensor]:
    """Those of one part, in the module's order."""
    return (p for name, p in params.items() if name.startswith(f"{part}."))
