"""How a time grows with a rate: the exponent of a power law, from times some of which were cut off.

Shapes: R resamples, N units, M times.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from holdfast.stats.bootstrap import Floats, Statistic

ROUNDS = 200
STEP = 1e-7
"""Change of the slope at which the estimate counts as found."""


def exponent_of(
    units_M: NDArray[np.int64], rates_M: Floats, times_M: Floats, censored_M: NDArray[np.bool_], n: int
) -> Statistic:
    """s in T ~ rate^-s, by censored log-normal regression: log T = a - s log rate + sigma e, e ~ N(0, 1).

    Maximum likelihood by EM (Aitkin 1981, Technometrics 23, 161-163): a time that was cut off at c enters as
    E[log T | log T > log c] and its variance; then weighted least squares; until the slope stands still.

    When it misleads: it takes one power law over all rates. Where times reach a floor (the first look) or another
    cause ends them first, the slope is that of a mixture; and times that are cut off bear on it through the model only.

    Args:
        units_M: to which unit (0..n-1) each time belongs; units are what is resampled.
        rates_M: above 0.
        times_M: above 0; where censored, the time at which watching ended.
        censored_M: whether it was cut off.
        n: units.

    Raises:
        ValueError: a rate or a time that is not above 0, or only one rate.
    """
    if not (rates_M > 0).all() or not (times_M > 0).all() or len(np.unique(rates_M)) < 2:
        raise ValueError("Expected times and rates above 0, at two rates or more.")
    x_M, y_M = np.log(rates_M), np.log(times_M)

    def statistic(weights_RN: Floats) -> Floats:
        return np.concatenate([-_slope(part[:, units_M], x_M, y_M, censored_M) for part in np.array_split(
            weights_RN, max(1, len(weights_RN) // 500))])  # fmt: skip

    return statistic


def _slope(w_RM: Floats, x_M: Floats, y_M: Floats, censored_M: NDArray[np.bool_]) -> Floats:
    """slope_R of weighted censored regressions."""
    total_R = w_RM.sum(1, keepdims=True)
    centre_R = w_RM @ x_M[:, None] / total_R
    x_RM = x_M - centre_R
    spread_R = (w_RM * x_RM**2).sum(1, keepdims=True)
    z_RM, variance_RM = np.broadcast_to(y_M, w_RM.shape), np.zeros_like(w_RM)
    slope_R = np.full((len(w_RM), 1), np.inf)
    with np.errstate(all="ignore"):  # a resample may hold one rate only: NaN, which the caller counts
        for _ in range(ROUNDS):
            before, slope_R = slope_R, (w_RM * x_RM * z_RM).sum(1, keepdims=True) / spread_R
            fit_RM = (w_RM * z_RM).sum(1, keepdims=True) / total_R + slope_R * x_RM
            square_R = (w_RM * ((z_RM - fit_RM) ** 2 + variance_RM)).sum(1, keepdims=True) / total_R
            sigma_R = np.sqrt(np.maximum(square_R, 1e-12))
            if not censored_M.any() or np.nanmax(np.abs(slope_R - before)) < STEP:
                break
            c_RM = (y_M - fit_RM) / sigma_R
            hazard_RM = np.exp(-0.5 * c_RM**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-c_RM))
            z_RM = np.where(censored_M, fit_RM + sigma_R * hazard_RM, y_M)
            variance_RM = np.where(censored_M, sigma_R**2 * (1 + c_RM * hazard_RM - hazard_RM**2), 0.0)
    return slope_R[:, 0]
