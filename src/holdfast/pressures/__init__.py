"""Pressures: what training does to a net."""

from holdfast.pressures.base import Checkpoint
from holdfast.pressures.fit import Fit, attackers
from holdfast.pressures.mixes import Poison, Unlearn
from holdfast.pressures.optimisers import SGD, Adam, Sign
from holdfast.pressures.weight_decay import WeightDecay

__all__ = ["SGD", "Adam", "Checkpoint", "Fit", "Poison", "Sign", "Unlearn", "WeightDecay", "attackers"]
