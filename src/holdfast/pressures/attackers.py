"""The declared grid of attackers."""

from collections.abc import Sequence

from holdfast.pressures.fit import BATCH, Fit
from holdfast.pressures.optimisers import SGD, Adam
from holdfast.pressures.terms import Term

SGD_RATES = (1e-3, 10**-2.25, 10**-1.5, 10**-0.75, 1.0)
ADAM_RATES = (1e-4, 10**-3.25, 10**-2.5, 10**-1.75, 1e-1)


def attackers(
    *terms: Term,
    steps: int,
    batch: int = BATCH,
    sgd_rates: Sequence[float] = SGD_RATES,
    adam_rates: Sequence[float] = ADAM_RATES,
) -> tuple[Fit, ...]:
    """A declared grid: these terms under SGD with momentum .9 and under Adam, each at several learning rates.

    The default rates span three decades. They are scaled to weights of a root mean square near .07, which is what a
    layer of 64 inputs starts with: one Adam step moves a weight by .1 % to 140 % of that. For other hosts scale them:
    "survives" means against the best of these, and a grid whose strongest setting sits at its edge is too narrow.
    """
    optimisers = [*(SGD(lr=lr, momentum=0.9) for lr in sgd_rates), *(Adam(lr=lr) for lr in adam_rates)]
    return tuple(Fit(optimiser, *terms, steps=steps, batch=batch) for optimiser in optimisers)
