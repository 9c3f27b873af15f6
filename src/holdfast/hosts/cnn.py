"""A small convolutional classifier of images.

Shapes: K networks, B images, C channels, H x W pixels, I inputs and O outputs of a layer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.errors import UsageError, whole, wholes


class _CNN(nn.Module):
    def __init__(self, host: "CNN") -> None:
        super().__init__()
        self.host = host
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((host.inputs, *host.channels)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(host.flat, host.hidden), nn.ReLU(), nn.Linear(host.hidden, host.classes)
        )

    def forward(self, x_B: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(self.host.images(x_B)).flatten(1))
        return logits


@dataclass(frozen=True, kw_only=True)
class CNN:
    """Convolutions 3 x 3 with ReLU, each followed by 2 x 2 max-pooling; then linear, ReLU, linear.

    It reads images (N, H, W), or (N, C, H, W) where there are several channels, and gives logits (N, classes). A net
    is laid out and named as torchvision's classifiers are, `features` (a Sequential of Conv2d, ReLU, MaxPool2d) and
    `classifier`: `features.0.weight`, `features.3.weight`, ..., `classifier.0.weight`, `classifier.2.weight`. PyTorch's
    default initialisation, drawn from the seed's `init` stream.

    Has no batch norm, so it is what it is on each image by itself. Misleads where it stands for deep networks: it
    has few layers and no skip connections. Where pooled pixels are equal to rounding (blank or synthetic images), each
    backend may pass the gradient to another of them, so two backends part there; one backend repeats itself exactly.
    """

    channels: tuple[int, ...] = (16, 32)
    """Outputs of each convolution; every one halves the sides of the image, rounding down."""
    hidden: int = 64
    """Units of the hidden linear layer."""
    size: tuple[int, int] = (28, 28)
    """Height and width of an image, in pixels."""
    inputs: int = 1
    """Channels of an image."""
    classes: int = 10

    def __post_init__(self) -> None:
        wholes("channels", self.channels)
        wholes("size", self.size)
        for field, value in (("hidden", self.hidden), ("inputs", self.inputs), ("classes", self.classes)):
            whole(field, value)
        if not self.channels or min(*self.channels, self.hidden, self.inputs, self.classes) < 1:
            raise UsageError(
                f"CNN needs at least one convolution, and 1 or more of everything; got channels={self.channels}, "
                f"hidden={self.hidden}, inputs={self.inputs}, classes={self.classes}."
            )
        if len(self.size) != 2 or min(self.size) < 2 ** len(self.channels):
            raise UsageError(
                f"{len(self.channels)} poolings halve the sides of an image {len(self.channels)} times: CNN needs a "
                f"height and a width of at least {2 ** len(self.channels)} pixels; got size={self.size}."
            )

    @property
    def label(self) -> str:
        return f"CNN {'-'.join(map(str, (*self.channels, self.hidden, self.classes)))}"

    @property
    def flat(self) -> int:
        """Features that the linear layers read."""
        sides = [side >> len(self.channels) for side in self.size]
        return self.channels[-1] * sides[0] * sides[1]

    def build(self) -> nn.Module:
        """One network, initialised from PyTorch's global generator (the caller seeds it)."""
        return _CNN(self)

    def images(self, x_B: Tensor) -> Tensor:
        """x_BCHW.

        Raises:
            UsageError: images of another size, or with other channels.
        """
        if x_B.dim() == 3 and self.inputs == 1:
            x_B = x_B.unsqueeze(1)
        if x_B.shape[1:] != (self.inputs, *self.size):
            raise UsageError(
                f"{self.label} reads images of {self.size[0]} x {self.size[1]} pixels with {self.inputs} channels; got "
                f"inputs of shape {tuple(x_B.shape[1:])}. Give it their size= and inputs=."
            )
        return x_B

    def forward(
        self, params: Mapping[str, Tensor], x_KB: Tensor, drop: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """logits_KBC of K networks at once; `params` as `build()` names them, each with a leading K.

        `drop(x_KBO)` is called once, on the hidden linear layer after its ReLU.
        """
        return torch.stack(self._layers(params, x_KB, drop)[-1])

    def activations(
        self, params: Mapping[str, Tensor], x_KB: Tensor, drop: Callable[[Tensor], Tensor] | None = None
    ) -> list[Tensor]:
        """Output of every layer: of each convolution after ReLU and pooling (KBCHW), of the hidden linear layer (KBO),
        logits last (KBC); `drop` as in `forward`."""
        return [torch.stack(nets) for nets in self._layers(params, x_KB, drop)]

    def _layers(
        self, params: Mapping[str, Tensor], x_KB: Tensor, drop: Callable[[Tensor], Tensor] | None
    ) -> list[list[Tensor]]:
        """Output of every layer, net by net."""
        each = zip(*(p.unbind() for p in params.values()), strict=True)
        nets = [dict(zip(params, values, strict=True)) for values in each]
        found = [self._hidden(net, x) for net, x in zip(nets, x_KB, strict=True)]
        *layers, hidden = map(list, zip(*found, strict=True))
        if drop is not None:  # copied, so that each net's values start on a cache line again (see LANES)
            hidden = [x.clone() for x in drop(torch.stack(hidden))]
        logits = [
            F.linear(x, net["classifier.2.weight"], net["classifier.2.bias"])
            for net, x in zip(nets, hidden, strict=True)
        ]
        return [*layers, hidden, logits]

    def _hidden(self, net: Mapping[str, Tensor], x_B: Tensor) -> list[Tensor]:
        # Net by net: grouped convolution is no faster, and im2col half as fast. Channels last in memory, where pooling
        # works on whole registers: twice as fast. ReLU after pooling gives the same values and gradients as before
        # it, with a quarter of the work. Figures in docs/hosts.md.
        x_BCHW = self.images(x_B).clone(memory_format=torch.channels_last)
        outputs = []
        for i in range(len(self.channels)):
            w_OIHW = net[f"features.{3 * i}.weight"].to(memory_format=torch.channels_last)
            x_BCHW = F.conv2d(x_BCHW, w_OIHW, net[f"features.{3 * i}.bias"], padding=1)
            x_BCHW = F.max_pool2d(x_BCHW, 2).relu()
            outputs.append(x_BCHW)
        flat_BI = x_BCHW.flatten(1)
        return [*outputs, F.linear(flat_BI, net["classifier.0.weight"], net["classifier.0.bias"]).relu()]
