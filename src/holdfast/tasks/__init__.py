"""Tasks: data with a loss."""

from holdfast.tasks.base import Data, Split
from holdfast.tasks.binary_digits import BinaryDigits
from holdfast.tasks.digits import Digits
from holdfast.tasks.fashion_mnist import FashionMNIST
from holdfast.tasks.text import PythonText

__all__ = ["BinaryDigits", "Data", "Digits", "FashionMNIST", "PythonText", "Split"]
