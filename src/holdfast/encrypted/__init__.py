"""Encrypted: homomorphic encryption over the torus (TFHE) as a network whose weights are the evaluation keys."""

from holdfast.encrypted.bootstrap import Bootstrap
from holdfast.encrypted.client import SecretKey
from holdfast.encrypted.gates import gate, inverted
from holdfast.encrypted.multiplexers import EncryptedTable
from holdfast.encrypted.network import EncryptedNetwork
from holdfast.encrypted.parameters import SETS, Gadget, ParameterSet, Switch
from holdfast.encrypted.program import Cell, Program, program_of

__all__ = [
    "SETS",
    "Bootstrap",
    "Cell",
    "EncryptedNetwork",
    "EncryptedTable",
    "Gadget",
    "ParameterSet",
    "Program",
    "SecretKey",
    "Switch",
    "gate",
    "inverted",
    "program_of",
]
