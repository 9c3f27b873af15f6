"""Encrypted: homomorphic encryption over the torus (TFHE) as a network whose weights are the evaluation keys."""

from holdfast.encrypted.bootstrap import Bootstrap
from holdfast.encrypted.client import SecretKey
from holdfast.encrypted.gates import gate, inverted
from holdfast.encrypted.parameters import SETS, Gadget, ParameterSet, Switch

__all__ = ["SETS", "Bootstrap", "Gadget", "ParameterSet", "SecretKey", "Switch", "gate", "inverted"]
