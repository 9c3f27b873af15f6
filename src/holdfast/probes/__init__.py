"""Probes: measurements at a checkpoint."""

from holdfast.probes.accuracy import Accuracy
from holdfast.probes.agreement import Agreement
from holdfast.probes.barrier import Barrier
from holdfast.probes.base import Look
from holdfast.probes.collapse import Collapse
from holdfast.probes.dead_units import DeadUnits
from holdfast.probes.distance import Distance
from holdfast.probes.exposure import Exposure
from holdfast.probes.gradient import Gradient
from holdfast.probes.loss import Loss
from holdfast.probes.presence import Presence
from holdfast.probes.pull import Pull, pull_share
from holdfast.probes.spare_map import SpareMap
from holdfast.probes.trigger_rate import TriggerRate
from holdfast.probes.unmoved import Unmoved

STANDARD = (Presence(), Accuracy(), Gradient(), Distance())
"""What every run measures. Presence and accuracy are judged; the others explain."""

__all__ = [
    "STANDARD",
    "Accuracy",
    "Agreement",
    "Barrier",
    "Collapse",
    "DeadUnits",
    "Distance",
    "Exposure",
    "Gradient",
    "Look",
    "Loss",
    "Presence",
    "Pull",
    "SpareMap",
    "TriggerRate",
    "Unmoved",
    "pull_share",
]
