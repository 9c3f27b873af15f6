"""The debate, claim by claim."""

from holdfast.claims.base import Anchor, Claim, Control, Evidence, Findings, Size
from holdfast.claims.every_weight import EveryWeight
from holdfast.claims.rare_trigger import RareTrigger
from holdfast.claims.settling import judged, settling

CLAIMS: dict[str, Claim] = {claim.name: claim for claim in (EveryWeight(), RareTrigger())}
"""By name, in the order of the debate."""

__all__ = ["CLAIMS", "Anchor", "Claim", "Control", "Evidence", "Findings", "Size", "judged", "settling"]
