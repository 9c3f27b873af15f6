"""What tests of pressures that remove weights or units share."""

from holdfast import CNN, MLP
from holdfast.training.nets import Nets

HOSTS = [MLP(widths=(64, 16, 8, 10)), CNN(size=(8, 8), channels=(4, 6), hidden=7)]
IDS = ["mlp", "cnn"]


def pressed(pressure, site, start, looks, each=None):
    """(the nets at the end, copies of them at each look by its step)"""
    nets, seen = start.copy(), {}
    for point in type(pressure).press(each or [pressure] * nets.k, site.at("pressure"), nets, looks):
        seen[point.step] = point.nets.copy()
    return nets, seen


def started(site):
    return Nets.initialised(site.host, site.streams, backend=site.backend)
