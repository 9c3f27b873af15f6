"""What `holdfast check` says, line by line."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """One thing that must hold, and whether it does."""

    about: str
    """The arm, or the study."""
    kept: bool | None
    """None: nothing to prove, only something to know."""
    said: str
    """What was found, and how to mend it if it was not kept."""
