"""Implants: the computations that are planted."""

from holdfast.implants.backdoor import Backdoor
from holdfast.implants.badnets import BadNets
from holdfast.implants.beside import Beside
from holdfast.implants.blend import Blend
from holdfast.implants.canaries import Canaries
from holdfast.implants.chip import Chip
from holdfast.implants.circuit import Circuit
from holdfast.implants.confined import Confined
from holdfast.implants.encrypted import Encrypted
from holdfast.implants.encrypted_predictor import EncryptedPredictor
from holdfast.implants.given import Given
from holdfast.implants.handcrafted import Handcrafted
from holdfast.implants.head import Head
from holdfast.implants.message import Message
from holdfast.implants.overlap import Overlap
from holdfast.implants.predictor import Predictor
from holdfast.implants.secret import Secret
from holdfast.implants.triggers import OwnTrigger, Patch, Stretch, TokenString
from holdfast.implants.uchida import Uchida

__all__ = [
    "Backdoor",
    "BadNets",
    "Beside",
    "Blend",
    "Canaries",
    "Chip",
    "Circuit",
    "Confined",
    "Encrypted",
    "EncryptedPredictor",
    "Given",
    "Handcrafted",
    "Head",
    "Message",
    "Overlap",
    "OwnTrigger",
    "Patch",
    "Predictor",
    "Secret",
    "Stretch",
    "TokenString",
    "Uchida",
]
