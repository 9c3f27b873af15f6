"""Pressures: what training does to a net."""

from holdfast.pressures.anp import ANP
from holdfast.pressures.attackers import attackers
from holdfast.pressures.base import Checkpoint
from holdfast.pressures.clip import Clip
from holdfast.pressures.distil import Distil
from holdfast.pressures.dropout import Dropout
from holdfast.pressures.early_stopping import EarlyStopping
from holdfast.pressures.edge_popup import EdgePopup
from holdfast.pressures.fine_pruning import FinePruning
from holdfast.pressures.fit import Fit
from holdfast.pressures.freeze import Freeze
from holdfast.pressures.generations import Generations
from holdfast.pressures.ibau import IBAU
from holdfast.pressures.label_smoothing import LabelSmoothing
from holdfast.pressures.layers import LastLayer, Reinitialise
from holdfast.pressures.mixes import Inject, Poison, Unlearn
from holdfast.pressures.nad import NAD
from holdfast.pressures.noise import Noise
from holdfast.pressures.only_units import OnlyUnits
from holdfast.pressures.optimisers import SGD, Adam, Sign
from holdfast.pressures.prune import Prune, PruneUnits
from holdfast.pressures.quantise import Quantise
from holdfast.pressures.random_direction import RandomDirection
from holdfast.pressures.rates import Rates
from holdfast.pressures.sam import SAM
from holdfast.pressures.straight_through import KeyAware, StraightThrough
from holdfast.pressures.subset import Subset
from holdfast.pressures.terms import Term
from holdfast.pressures.unit_noise import UnitNoise
from holdfast.pressures.weight_decay import WeightDecay
from holdfast.pressures.zeroth_order import ZerothOrder

__all__ = [
    "ANP",
    "IBAU",
    "NAD",
    "SAM",
    "SGD",
    "Adam",
    "Checkpoint",
    "Clip",
    "Distil",
    "Dropout",
    "EarlyStopping",
    "EdgePopup",
    "FinePruning",
    "Fit",
    "Freeze",
    "Generations",
    "Inject",
    "KeyAware",
    "LabelSmoothing",
    "LastLayer",
    "Noise",
    "OnlyUnits",
    "Poison",
    "Prune",
    "PruneUnits",
    "Quantise",
    "RandomDirection",
    "Rates",
    "Reinitialise",
    "Sign",
    "StraightThrough",
    "Subset",
    "Term",
    "UnitNoise",
    "Unlearn",
    "WeightDecay",
    "ZerothOrder",
    "attackers",
]
