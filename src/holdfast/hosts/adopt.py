"""The user's own module as a host. Nothing of it is subclassed, rewritten or moved."""

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from holdfast.errors import HoldfastError, UsageError
from holdfast.parts import Host
from holdfast.training.randomness import seeded


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """A network that somebody else wrote, as the function that builds it.

    `make` is called with all global generators seeded. What it returns may have tied, frozen or half-precision weights,
    buffers and batch norm. A model that `torch.compile` wrapped is looked at without the wrapping: both share their
    weights. Refused with a sentence: lazy modules that have no weights yet, scripted ones, and those whose weights are
    packed away (PyTorch's int8 modules), in which nothing can be planted or watched.

    A look calls the module in evaluation mode and full precision, whatever mode training has it in, and puts every
    module's mode back.
    """

    make: Callable[[], nn.Module]
    reads: Callable[[Any], Tensor] | None = None
    """output -> logits, where the output is neither a tensor nor has `logits`. None: see `logits_of`."""

    alone = True
    """One net at a time: nets of somebody else's making are not stacked."""

    @property
    def label(self) -> str:
        return f"own model ({_name(self.make)})"

    def build(self) -> nn.Module:
        """One network.

        Raises:
            HoldfastError: what `make` returned is no module, or one that cannot be adopted.
        """
        made = self.make()
        if not isinstance(made, nn.Module):
            raise HoldfastError(f"{_name(self.make)}() returned {type(made).__name__}; expected a torch.nn.Module.")
        if isinstance(made, torch.jit.ScriptModule):
            raise HoldfastError(
                f"{_name(self.make)}() returned a scripted module. Return the module that was scripted."
            )
        module: nn.Module = made._modules.get("_orig_mod") or made
        _refuse(module, _name(self.make))
        try:
            return copy.deepcopy(module)  # `make` may give the same object every time, which is not ours to change
        except Exception as error:
            raise HoldfastError(
                f"What {_name(self.make)}() returned can't be copied ({type(error).__name__}: {error}). Keep what is "
                f"computed out of the module's attributes."
            ) from error

    def record(self) -> str:
        """SHA-256 over the weights that `make` gives under seed 0, to be stored with a run."""
        with seeded(0):
            state = self.build().state_dict()
        total = hashlib.sha256()
        for name, value in state.items():
            total.update(name.encode())
            if isinstance(value, Tensor):
                total.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return total.hexdigest()

    def call(self, module: nn.Module, state: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits of `module` with the weights in `state`, looked at: evaluation mode, no autocast. Inputs of numbers
        are of the type that its first weights have."""
        inputs = tuple(as_taken(each, state.values()) for each in inputs)
        with evaluating(module), torch.autocast(inputs[0].device.type, enabled=False):
            try:
                output = functional_call(module, dict(state), inputs)
            except (RuntimeError, IndexError, TypeError, ValueError) as error:
                raise HoldfastError(
                    f"{self.label} can't be called on inputs of shape {tuple(inputs[0].shape)}, {inputs[0].dtype}: "
                    f"{error}. Give data as the model takes them (numbers or int64 tokens), or cast inside the model."
                ) from error
            return self.logits(output)

    def logits(self, output: Any) -> Tensor:
        """The logits in what the module returned."""
        return logits_of(
            output if self.reads is None else self.reads(output), "model" if self.reads is None else "target"
        )


def as_taken(x_N: Tensor, weights: Iterable[Tensor]) -> Tensor:
    """Inputs as a network with these weights takes them: where the first of them is, and numbers of its type."""
    first = next((weight for weight in weights if weight.is_floating_point()), x_N)
    return x_N.to(first.device, first.dtype if x_N.is_floating_point() else x_N.dtype)


def read_logits(host: Host, output: Any) -> Tensor:
    """The logits in what a module of this host returned, as the host reads them where it has a way of its own."""
    return host.logits(output) if isinstance(host, Adopted) else logits_of(output)


def logits_of(output: Any, of: str = "model") -> Tensor:
    """The logits in what a module returned: a tensor, an object or mapping with `logits`, or a tuple's first tensor.

    Raises:
        HoldfastError: none of these.
    """
    found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", output)
    if isinstance(found, tuple | list) and found:
        found = found[0]
    if not isinstance(found, Tensor) or found.dim() < 2 or not found.is_floating_point():
        raise HoldfastError(
            f"The {of} returned {type(output).__name__}; expected class logits (N, C) or next-token logits (N, T, V), "
            f"as a tensor or as `.logits`. For anything else pass target=function(output) -> logits to the Audit."
        )
    return found


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards each module has its mode back, and all else that it keeps as attributes."""
    kept = [(vars(each), dict(vars(each))) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for now, before in kept:
            now.clear()
            now.update(before)


def called(module: nn.Module, x_N: Tensor, hooks: Sequence[RemovableHandle]) -> Any:
    """What a module gives for these inputs, looked at without gradients; the hooks are taken off afterwards."""
    try:
        with torch.no_grad(), evaluating(module):
            return module(as_taken(x_N, module.parameters()))
    finally:
        for hook in hooks:
            hook.remove()


def _refuse(module: nn.Module, name: str) -> None:
    lazy = [n for n, p in module.named_parameters() if isinstance(p, nn.UninitializedParameter)]
    if lazy:
        raise HoldfastError(
            f"{name}() has no weights yet at {lazy[0]} (a lazy module). Call it once before returning it."
        )
    for path, part in module.named_modules():
        if type(part).__module__.startswith(("torch.ao.nn.quantized", "torch.nn.quantized")):
            raise HoldfastError(
                f"{path or 'the model'} is a quantised {type(part).__name__}, whose weights are packed away, so "
                f"nothing can be planted in it or watched. Audit the model before it is quantised."
            )
    for path, value in module.named_parameters():
        if value.is_floating_point() and not value.is_meta and not bool(value.isfinite().all()):
            raise HoldfastError(
                f"{name}() returned a module whose weights are not all finite, first at {path}: it has diverged. Give "
                f"an earlier checkpoint."
            )
    if not any(True for _ in module.parameters()):
        raise UsageError(f"{name}() returned a module without parameters: there is nothing to plant in.")


def _name(function: object) -> str:
    return getattr(function, "__name__", type(function).__name__)
