"""Probes: measurements at a checkpoint."""

from holdfast.probes.accuracy import Accuracy
from holdfast.probes.base import Look
from holdfast.probes.distance import Distance
from holdfast.probes.gradient import Gradient
from holdfast.probes.presence import Presence

STANDARD = (Presence(), Accuracy(), Gradient(), Distance())
"""What every run measures. Presence and accuracy are judged; the others explain."""

__all__ = ["STANDARD", "Accuracy", "Distance", "Gradient", "Look", "Presence"]
