"""Statistics of survival: intervals, outcomes, curves, verdicts. A leaf: no torch, nothing else of Holdfast.

Read in this order: `planted` (what counts), `outcome` (one net), `verdict` (one arm), `paired` (two arms), `claims`.
"""

from holdfast.stats.arm_verdict import OVER, ArmVerdict, Verdict
from holdfast.stats.attacker import LEAST_SEEDS, Choice, strongest
from holdfast.stats.bootstrap import bca, mean_of
from holdfast.stats.claims import (
    ClaimVerdict,
    Judged,
    Part,
    judge_claim,
    judge_mean,
    judge_part,
    judge_share,
    judge_survival,
    part_level,
)
from holdfast.stats.controls import ControlCheck, check_controls
from holdfast.stats.exponent import exponent_of
from holdfast.stats.intervals import Interval, clopper_pearson, look_level
from holdfast.stats.outcome import Outcome, Trace, outcome
from holdfast.stats.paired import Comparison, SignFlip, compare, present_at_first, sign_flip, survival_time
from holdfast.stats.planning import Distinguishable, distinguishable, seeds_needed
from holdfast.stats.planted import control_limit, gone_below, is_planted
from holdfast.stats.suppressed import Suppression, passing_time, suppression
from holdfast.stats.survival import (
    SurvivalCurve,
    curve_of,
    half_life,
    half_life_text,
    kaplan_meier,
    restricted_mean,
)
from holdfast.stats.verdict import judge_arm

__all__ = [
    "LEAST_SEEDS",
    "OVER",
    "ArmVerdict",
    "Choice",
    "ClaimVerdict",
    "Comparison",
    "ControlCheck",
    "Distinguishable",
    "Interval",
    "Judged",
    "Outcome",
    "Part",
    "SignFlip",
    "Suppression",
    "SurvivalCurve",
    "Trace",
    "Verdict",
    "bca",
    "check_controls",
    "clopper_pearson",
    "compare",
    "control_limit",
    "curve_of",
    "distinguishable",
    "exponent_of",
    "gone_below",
    "half_life",
    "half_life_text",
    "is_planted",
    "judge_arm",
    "judge_claim",
    "judge_mean",
    "judge_part",
    "judge_share",
    "judge_survival",
    "kaplan_meier",
    "look_level",
    "mean_of",
    "outcome",
    "part_level",
    "passing_time",
    "present_at_first",
    "restricted_mean",
    "seeds_needed",
    "sign_flip",
    "strongest",
    "suppression",
    "survival_time",
]
