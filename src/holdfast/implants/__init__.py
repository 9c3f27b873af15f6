"""Implants: the computations that are planted."""

from holdfast.implants.backdoor import Backdoor, Patch
from holdfast.implants.badnets import BadNets
from holdfast.implants.given import Given
from holdfast.implants.handcrafted import Handcrafted

__all__ = ["Backdoor", "BadNets", "Given", "Handcrafted", "Patch"]
