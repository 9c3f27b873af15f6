"""Pruning: which weights of a network are kept."""

from holdfast.pruning.at_random import AtRandom
from holdfast.pruning.base import Score
from holdfast.pruning.compact import compact
from holdfast.pruning.grasp import GraSP
from holdfast.pruning.largest import largest
from holdfast.pruning.magnitude import Magnitude
from holdfast.pruning.masks import Masks, prunable
from holdfast.pruning.prune import prune
from holdfast.pruning.snip import SNIP
from holdfast.pruning.synflow import SynFlow
from holdfast.pruning.unit_scores import MeanActivation, OutgoingNorm, UnitScore

__all__ = [
    "SNIP",
    "AtRandom",
    "GraSP",
    "Magnitude",
    "Masks",
    "MeanActivation",
    "OutgoingNorm",
    "Score",
    "SynFlow",
    "UnitScore",
    "compact",
    "largest",
    "prunable",
    "prune",
]
