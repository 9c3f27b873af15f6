"""Whether a host can read the data and answer them, before anything is trained."""

import torch

from holdfast.errors import UsageError
from holdfast.parts import Host
from holdfast.tasks.base import Data
from holdfast.training.randomness import untouched


def refuse_misfit(host: Host, data: Data) -> None:
    """Build the host and show it one example: floats without numbers, on the meta device, tokens as they are.

    Raises:
        UsageError: it cannot read such inputs, a token lies outside its vocabulary, or its outputs don't answer the
            targets: (N, classes) for classes (N), (N, T, V) with V no less than the tokens there are for (N, T).
    """
    x, y = data.train.x, data.train.y
    _refuse_unknown_tokens(host, data)
    device = torch.device("meta" if x.is_floating_point() else "cpu")  # the meta device does not tell kinds apart
    with device, untouched(), torch.no_grad():
        try:
            outputs = tuple(host.build()(x[:1].to(device)).shape[1:])
        except (RuntimeError, IndexError) as error:
            raise UsageError(
                f"{host.label} cannot read inputs of shape {tuple(x.shape[1:])}, {x.dtype}: {error}."
            ) from None
    if y.dim() == 1 and outputs != (data.classes,):
        raise UsageError(
            f"{host.label} gives outputs of shape {outputs}, but the task has {data.classes} classes. {_mend(outputs)}"
        )
    if y.dim() > 1 and (outputs[:-1] != tuple(y.shape[1:]) or outputs[-1] < data.classes):
        raise UsageError(
            f"{host.label} gives outputs of shape {outputs}, but targets are tokens 0 to {data.classes - 1} in shape "
            f"{tuple(y.shape[1:])}. Take a host that gives {data.classes} logits at each position, such as "
            f"GPT(vocabulary={data.classes})."
        )


def _refuse_unknown_tokens(host: Host, data: Data) -> None:
    vocabulary = getattr(host, "vocabulary", None)
    if vocabulary is None or data.train.x.is_floating_point():
        return
    for split in (data.train, data.validation, data.test):
        low, high = (int(bound) for bound in split.x.aminmax())
        if low < 0 or high >= vocabulary:
            raise UsageError(
                f"{host.label} has a vocabulary of {vocabulary}, ids 0 to {vocabulary - 1}, but the data hold "
                f"{low if low < 0 else high}. Give it vocabulary={high + 1}, or map what it doesn't know to one id."
            )


def _mend(outputs: tuple[int, ...]) -> str:
    if len(outputs) > 1:
        return "Such a host answers at every position; give it targets (N, T), or take a classifier."
    return "Change the last width of the host."
