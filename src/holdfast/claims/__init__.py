"""The debate, claim by claim."""

from typing import get_args

from holdfast.claims.any_algorithm import AnyAlgorithm
from holdfast.claims.base import Anchor, Claim, Control, Curve, Evidence, Findings, Size
from holdfast.claims.distillation import Distillation
from holdfast.claims.encrypted_chip import EncryptedChip
from holdfast.claims.every_weight import EveryWeight
from holdfast.claims.lottery_ticket import LotteryTicket
from holdfast.claims.one_bit_neurons import OneBitNeurons
from holdfast.claims.outside_main import OutsideMain
from holdfast.claims.rare_trigger import RareTrigger
from holdfast.claims.settling import judged, settling
from holdfast.claims.shared_neurons import SharedNeurons
from holdfast.claims.spare import Spare

_EACH: tuple[Claim, ...] = (
    Spare(),
    LotteryTicket(),
    Distillation(),
    EveryWeight(),
    EncryptedChip(),
    SharedNeurons(),
    RareTrigger(),
    OneBitNeurons(),
    AnyAlgorithm(),
    OutsideMain(),
)
CLAIMS = {claim.name: claim for claim in _EACH}
"""By name, in the order of the debate."""


def claim_of(study: str) -> tuple[Claim, Size] | None:
    """The claim and the size whose study has this name, if there is one."""
    name, _, size = study.rpartition("-")
    return next(((CLAIMS[name], known) for known in get_args(Size) if name in CLAIMS and known == size), None)


__all__ = [
    "CLAIMS",
    "Anchor",
    "AnyAlgorithm",
    "Claim",
    "Control",
    "Curve",
    "Distillation",
    "EncryptedChip",
    "Evidence",
    "Findings",
    "LotteryTicket",
    "OutsideMain",
    "Size",
    "Spare",
    "claim_of",
    "judged",
    "settling",
]
