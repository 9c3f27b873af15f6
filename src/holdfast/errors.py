"""The errors a user can cause. Each message says what was expected, what was got, and how to mend it."""

import difflib
from collections.abc import Iterable


class HoldfastError(Exception):
    """Something that the user can mend. The command prints the message without a traceback and exits with 1."""


class UsageError(HoldfastError):
    """Wrong use: an unknown name, an impossible setting. The command exits with 2."""


class NotWritable(UsageError):
    """An implant that can't be written into this net, though perhaps into another, or with another trigger."""


class DamagedRun(HoldfastError):
    """A run folder that cannot be read as it stands. Nothing in it is changed."""


def whole(field: str, value: object) -> None:
    """Refuse what is no whole number.

    Raises:
        UsageError: names the field.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{field} must be a whole number; got {value!r}.")


def number(field: str, value: object) -> None:
    """Refuse what is no number.

    Raises:
        UsageError: names the field.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{field} must be a number; got {value!r}.")


def counted(who: str, **each: object) -> None:
    """Refuse what is no whole number of 1 or more.

    Raises:
        UsageError: names it.
    """
    for name, value in each.items():
        whole(f"{who}'s {name}", value)
        if value < 1:  # type: ignore[operator]
            raise UsageError(f"{who} needs {name} of 1 or more; got {value}.")


def wholes(field: str, values: object) -> None:
    """Refuse what is no tuple or list of whole numbers.

    Raises:
        UsageError: names the field.
    """
    if not isinstance(values, tuple | list):
        raise UsageError(f"{field} must be a tuple of whole numbers; got {values!r}. Write ({values!r},).")
    for value in values:
        whole(f"An entry of {field}", value)


def nearest(got: str, valid: Iterable[str], *, what: str) -> UsageError:
    """An error for an unknown name that points at the nearest valid one.

    Args:
        got: what the user wrote.
        valid: the names that would have been right.
        what: what is named, as a noun ("recipe", "layer path").
    """
    names = sorted(set(valid))
    close = difflib.get_close_matches(got, names, n=1, cutoff=0.4)
    hint = f"Perhaps you meant {close[0]!r}." if close else f"Valid: {', '.join(names) or 'none'}."
    return UsageError(f"Unknown {what} {got!r}. {hint}")


def printable(text: str) -> str:
    """Text with what could steer a terminal (escapes, controls, marks that turn the direction of writing) spelt out."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
