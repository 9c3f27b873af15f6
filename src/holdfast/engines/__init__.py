"""Engines: where cells are run."""

from holdfast.engines.base import Batch, Engine, Watch
from holdfast.engines.here import Here
from holdfast.engines.processes import Processes, cores

__all__ = ["Batch", "Engine", "Here", "Processes", "Watch", "cores"]
