"""Plant a computation in a network, train the network, and see whether it held.

Everything public is named here. Parts are loaded when they are first used, so that importing the package, and every
command that only looks, needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.auditing import Audit as Audit
    from holdfast.census import Census as Census
    from holdfast.errors import DamagedRun as DamagedRun
    from holdfast.errors import HoldfastError as HoldfastError
    from holdfast.errors import UsageError as UsageError
    from holdfast.experiment import Experiment as Experiment
    from holdfast.hosts import CNN as CNN
    from holdfast.hosts import GPT as GPT
    from holdfast.hosts import LENET_300_100 as LENET_300_100
    from holdfast.hosts import MLP as MLP
    from holdfast.hosts import HuggingFace as HuggingFace
    from holdfast.hosts import Logic as Logic
    from holdfast.implants import Backdoor as Backdoor
    from holdfast.implants import BadNets as BadNets
    from holdfast.implants import Beside as Beside
    from holdfast.implants import Blend as Blend
    from holdfast.implants import Chip as Chip
    from holdfast.implants import Circuit as Circuit
    from holdfast.implants import Confined as Confined
    from holdfast.implants import Encrypted as Encrypted
    from holdfast.implants import Given as Given
    from holdfast.implants import Handcrafted as Handcrafted
    from holdfast.implants import Head as Head
    from holdfast.implants import Message as Message
    from holdfast.implants import Overlap as Overlap
    from holdfast.implants import OwnTrigger as OwnTrigger
    from holdfast.implants import Patch as Patch
    from holdfast.implants import Predictor as Predictor
    from holdfast.implants import Secret as Secret
    from holdfast.implants import Stretch as Stretch
    from holdfast.implants import TokenString as TokenString
    from holdfast.implants import Uchida as Uchida
    from holdfast.notebook import Result as Result
    from holdfast.notebook import audit as audit
    from holdfast.notebook import plant as plant
    from holdfast.pressures import ANP as ANP
    from holdfast.pressures import IBAU as IBAU
    from holdfast.pressures import NAD as NAD
    from holdfast.pressures import SAM as SAM
    from holdfast.pressures import SGD as SGD
    from holdfast.pressures import Adam as Adam
    from holdfast.pressures import Clip as Clip
    from holdfast.pressures import Distil as Distil
    from holdfast.pressures import Dropout as Dropout
    from holdfast.pressures import EarlyStopping as EarlyStopping
    from holdfast.pressures import EdgePopup as EdgePopup
    from holdfast.pressures import FinePruning as FinePruning
    from holdfast.pressures import Fit as Fit
    from holdfast.pressures import Freeze as Freeze
    from holdfast.pressures import Generations as Generations
    from holdfast.pressures import Inject as Inject
    from holdfast.pressures import KeyAware as KeyAware
    from holdfast.pressures import LabelSmoothing as LabelSmoothing
    from holdfast.pressures import LastLayer as LastLayer
    from holdfast.pressures import Noise as Noise
    from holdfast.pressures import OnlyUnits as OnlyUnits
    from holdfast.pressures import Poison as Poison
    from holdfast.pressures import Prune as Prune
    from holdfast.pressures import PruneUnits as PruneUnits
    from holdfast.pressures import Quantise as Quantise
    from holdfast.pressures import RandomDirection as RandomDirection
    from holdfast.pressures import Rates as Rates
    from holdfast.pressures import Reinitialise as Reinitialise
    from holdfast.pressures import Sign as Sign
    from holdfast.pressures import StraightThrough as StraightThrough
    from holdfast.pressures import Subset as Subset
    from holdfast.pressures import Term as Term
    from holdfast.pressures import UnitNoise as UnitNoise
    from holdfast.pressures import Unlearn as Unlearn
    from holdfast.pressures import WeightDecay as WeightDecay
    from holdfast.pressures import ZerothOrder as ZerothOrder
    from holdfast.pressures import attackers as attackers
    from holdfast.probes import Agreement as Agreement
    from holdfast.probes import Barrier as Barrier
    from holdfast.probes import Collapse as Collapse
    from holdfast.probes import DeadUnits as DeadUnits
    from holdfast.probes import Exposure as Exposure
    from holdfast.probes import Loss as Loss
    from holdfast.probes import Pull as Pull
    from holdfast.probes import SpareMap as SpareMap
    from holdfast.probes import TriggerRate as TriggerRate
    from holdfast.probes import Unmoved as Unmoved
    from holdfast.pruning import SNIP as SNIP
    from holdfast.pruning import AtRandom as AtRandom
    from holdfast.pruning import GraSP as GraSP
    from holdfast.pruning import Magnitude as Magnitude
    from holdfast.pruning import MeanActivation as MeanActivation
    from holdfast.pruning import OutgoingNorm as OutgoingNorm
    from holdfast.pruning import SynFlow as SynFlow
    from holdfast.recipes import recipe as recipe
    from holdfast.sessions import open_run as open_run
    from holdfast.sessions import run_study as run_study
    from holdfast.study import Study as Study
    from holdfast.tasks import BinaryDigits as BinaryDigits
    from holdfast.tasks import Digits as Digits
    from holdfast.tasks import FashionMNIST as FashionMNIST
    from holdfast.tasks import PythonText as PythonText
    from holdfast.unit_map import spare_map as spare_map

_PUBLIC = {
    "auditing": ("Audit",),
    "census": ("Census",),
    "errors": ("DamagedRun", "HoldfastError", "UsageError"),
    "experiment": ("Experiment",),
    "hosts": ("CNN", "GPT", "LENET_300_100", "MLP", "HuggingFace", "Logic"),
    "implants": (
        "Backdoor",
        "BadNets",
        "Beside",
        "Blend",
        "Chip",
        "Circuit",
        "Confined",
        "Encrypted",
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
    ),
    "notebook": ("Result", "audit", "plant"),
    "pressures": (
        "ANP",
        "IBAU",
        "NAD",
        "SAM",
        "SGD",
        "Adam",
        "Clip",
        "Distil",
        "Dropout",
        "EarlyStopping",
        "EdgePopup",
        "FinePruning",
        "Fit",
        "Freeze",
        "Generations",
        "Inject",
        "KeyAware",
        "LabelSmoothing",
        "LastLayer",
        "Noise",
        "OnlyUnits",
        "Poison",
        "Prune",
        "PruneUnits",
        "Quantise",
        "RandomDirection",
        "Rates",
        "Reinitialise",
        "Sign",
        "StraightThrough",
        "Subset",
        "Term",
        "UnitNoise",
        "Unlearn",
        "WeightDecay",
        "ZerothOrder",
        "attackers",
    ),
    "probes": (
        "Agreement",
        "Barrier",
        "Collapse",
        "DeadUnits",
        "Exposure",
        "Loss",
        "Pull",
        "SpareMap",
        "TriggerRate",
        "Unmoved",
    ),
    "pruning": ("SNIP", "AtRandom", "GraSP", "Magnitude", "MeanActivation", "OutgoingNorm", "SynFlow"),
    "recipes": ("recipe",),
    "sessions": ("open_run", "run_study"),
    "study": ("Study",),
    "tasks": ("BinaryDigits", "Digits", "FashionMNIST", "PythonText"),
    "unit_map": ("spare_map",),
}
_HOME = {name: room for room, names in _PUBLIC.items() for name in names}

_ROOMS = ("circuits", "encrypted", "pruning")
"""Rooms that are used by name: `holdfast.circuits.compile(function)`."""

__version__ = "0.1.0"
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"holdfast.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    return getattr(import_module(f"holdfast.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, *_ROOMS, "__version__"]
