"""The convolutional classifier: against PyTorch's own layers, against itself one net at a time, to the bit."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holdfast import CNN, SGD, Adam, BadNets, Fit, UsageError
from holdfast.pressures.fit import gradients
from holdfast.tasks import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

SMALL = CNN(channels=(4, 6), hidden=12, size=(8, 8))
ODD = CNN(channels=(3,), hidden=5, size=(9, 7), inputs=2, classes=3)


def pressed(host, data, seeds, fits, backend="batched"):
    site = Site(host=host, data=data, streams=tuple(Streams(0, s) for s in seeds), implant=BadNets())
    nets = Nets.initialised(host, site.streams, backend=backend)
    for _ in Fit.press(fits, site, nets, (fits[0].steps,)):
        pass
    return nets


def images(host, count=60):
    draw = torch.Generator().manual_seed(0)
    shape = (count, host.inputs, *host.size)
    split = Split(torch.rand(shape, generator=draw), torch.randint(host.classes, (count,), generator=draw))
    return Data(split, split, split, host.classes)


def test_it_is_plain_layers_with_torchvisions_names():
    host = CNN(channels=(4, 6), hidden=12, size=(12, 10), inputs=2, classes=5)
    plain = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 3 * 2, 12), nn.ReLU(), nn.Linear(12, 5),
    )  # fmt: skip
    net = host.build()
    assert list(net.state_dict()) == [
        f"{layer}.{kind}"
        for layer in ("features.0", "features.3", "classifier.0", "classifier.2")
        for kind in ("weight", "bias")
    ]
    plain.load_state_dict(dict(zip(plain.state_dict(), net.state_dict().values(), strict=True)))
    x = torch.randn(5, 2, 12, 10)
    assert torch.equal(net(x), plain(x))
    assert torch.allclose(Nets.of(host, [host.build(), net]).logits(x)[1], plain(x), atol=1e-6)


def test_one_channel_may_go_without_saying():
    net, x = SMALL.build(), torch.rand(5, 8, 8)
    assert torch.equal(net(x), net(x[:, None]))
    nets = Nets.of(SMALL, [net, SMALL.build()])
    assert torch.equal(nets.logits(x), nets.logits(x[:, None]))


@pytest.mark.parametrize("host", [SMALL, ODD])
@pytest.mark.parametrize("batch", [1, 17])
def test_values_and_gradients_are_the_modules(host, batch):
    torch.manual_seed(0)
    singles = [host.build() for _ in range(3)]
    nets = Nets.of(host, singles)
    x, y = torch.randn(3, batch, host.inputs, *host.size), torch.randint(host.classes, (3, batch))
    found = gradients(nets, x, y)
    for k, single in enumerate(singles):
        F.cross_entropy(single(x[k]), y[k]).backward()
        for name, p in single.named_parameters():
            assert torch.allclose(found[name][k], p.grad, rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_the_backends_agree(backend):
    """On images without ties: where two pooled pixels are equal to rounding, each backend may pass on another."""
    fit = Fit(SGD(lr=0.05, momentum=0.9), steps=100, batch=32)
    ends = [pressed(SMALL, images(SMALL), range(3), [fit] * 3, one) for one in ("batched", backend)]
    for path, p in ends[0].params.items():
        assert torch.allclose(p, ends[1].params[path], rtol=1e-5, atol=1e-5), path


@pytest.mark.parametrize(("host", "batch"), [(SMALL, 16), (SMALL, 3), (ODD, 5), (ODD, 1)])
def test_alone_or_among_others(host, batch):
    task = images(host)
    fit = Fit(Adam(lr=3e-3), steps=8, batch=batch)
    alone = pressed(host, task, [7], [fit])
    for k in (2, 3, 5, 8):
        among = pressed(host, task, [7 if at in (0, k - 1) else 100 + at for at in range(k)], [fit] * k)
        for name, row in alone.rows.items():
            for at in (0, k - 1):
                assert torch.equal(among.rows[name][at], row[0]), f"{name} of net {at} of {k}"
        assert torch.equal(among.logits(task.test.x)[-1], alone.logits(task.test.x)[0])


def test_it_learns_digits(data):
    nets = pressed(SMALL, data, [0, 1], [Fit(Adam(lr=3e-3), steps=300, batch=32)] * 2)
    assert ((nets.classes(data.test.x) == data.test.y).double().mean(1) > 0.8).all()


def test_drop_sees_the_hidden_layer():
    nets = Nets.of(SMALL, [SMALL.build() for _ in range(2)])
    x = torch.rand(2, 5, 8, 8)
    seen = []

    def drop(x_KBO):
        seen.append(x_KBO)
        return x_KBO * 0

    logits = SMALL.forward(nets.params, x, drop)
    assert len(seen) == 1
    for k in range(2):
        module = nets.module(k)
        hidden = module.classifier[:2](module.features(x[k][:, None]).flatten(1))
        assert torch.allclose(seen[0][k], hidden, atol=1e-6)
    assert torch.equal(logits, nets.params["classifier.2.bias"][:, None].expand_as(logits))
    assert torch.equal(SMALL.forward(nets.params, x, lambda v: v), SMALL.forward(nets.params, x))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"size": (3, 28)}, r"at least 4 pixels; got size=\(3, 28\)"),
        ({"channels": (4,) * 5}, "at least 32 pixels"),
        ({"channels": ()}, "at least one convolution"),
        ({"channels": (4, 0)}, "1 or more of everything"),
        ({"hidden": 0}, "1 or more of everything"),
        ({"classes": 2.5}, "classes must be a whole number"),
    ],
)
def test_impossible_settings(wrong, match):
    with pytest.raises(UsageError, match=match):
        CNN(**wrong)


def test_other_images_are_refused_before_training(data):
    with pytest.raises(UsageError, match=r"28 x 28 pixels with 1 channels; got inputs of shape \(1, 8, 8\)"):
        pressed(CNN(), data, [0], [Fit(SGD(lr=0.1), steps=1)])
    with pytest.raises(UsageError, match="with 3 channels"):
        pressed(CNN(size=(8, 8), inputs=3), data, [0], [Fit(SGD(lr=0.1), steps=1)])
    with pytest.raises(UsageError, match=r"outputs of shape \(7,\), but the task has 10 classes"):
        pressed(CNN(size=(8, 8), classes=7), data, [0], [Fit(SGD(lr=0.1), steps=1)])
