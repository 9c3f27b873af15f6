"""Tasks: data with a loss."""

from holdfast.tasks.base import Data, Split
from holdfast.tasks.digits import Digits

__all__ = ["Data", "Digits", "Split"]
