"""What a net that begins as a program is trained to, and what a net of the same size from scratch."""

from holdfast.claims.weak_vote import TASK
from holdfast.implants.predictor import Predictor
from holdfast.pressures import Adam, Fit
from holdfast.training.site import Site
from holdfast.training.streams import Streams

SEEDS, WAY_ROUND = 8, 24


def from_scratch(program: Predictor, steps: int = 600) -> tuple[float, float]:
    """Mean test accuracy of 8 nets that begin as this program, and of 8 as initialised, after the same training."""
    data, streams = TASK.load(), tuple(Streams(0, seed) for seed in range(SEEDS))
    site = Site(host=program.host(TASK.inputs, WAY_ROUND), data=data, streams=streams, implant=program)
    found = []
    for nets in (program.plant(site), program.control(site)):
        fit = Fit(Adam(lr=10**-2.5), steps=steps)
        for _ in Fit.press([fit] * nets.k, site.at("anchor"), nets, (steps,)):
            pass
        found.append(float((nets.classes(data.test.x) == data.test.y).double().mean()))
    return found[0], found[1]
