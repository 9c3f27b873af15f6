"""What is measured and not trained. One file a kind; a census is one of them at all its seeds."""

from holdfast.samples.bypass import Bypass
from holdfast.samples.capacity import Capacity
from holdfast.samples.chip_repair import ChipRepair
from holdfast.samples.memory import Memory
from holdfast.samples.repair import Repair
from holdfast.samples.spare_units import SpareUnits
from holdfast.samples.students import Students
from holdfast.samples.tickets import Tickets
from holdfast.samples.tolerance import Tolerance

__all__ = ["Bypass", "Capacity", "ChipRepair", "Memory", "Repair", "SpareUnits", "Students", "Tickets", "Tolerance"]
