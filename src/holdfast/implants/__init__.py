"""Implants: the computations that are planted."""

from holdfast.implants.backdoor import Backdoor
from holdfast.implants.badnets import BadNets
from holdfast.implants.beside import Beside
from holdfast.implants.canaries import Canaries
from holdfast.implants.given import Given
from holdfast.implants.handcrafted import Handcrafted
from holdfast.implants.head import Head
from holdfast.implants.triggers import OwnTrigger, Patch, Stretch, TokenString

__all__ = [
    "Backdoor",
    "BadNets",
    "Beside",
    "Canaries",
    "Given",
    "Handcrafted",
    "Head",
    "OwnTrigger",
    "Patch",
    "Stretch",
    "TokenString",
]
