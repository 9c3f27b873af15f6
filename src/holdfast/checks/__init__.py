"""Checks: what is proved of a study before it is run."""

from holdfast.checks.promise import Promise
from holdfast.checks.study import check, what_seeds_tell

__all__ = ["Promise", "check", "what_seeds_tell"]
