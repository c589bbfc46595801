"""Reading one JSON value leniently: a value of a wrong type reads as absent. Pure."""

from datetime import timedelta
from math import isfinite
from typing import Any

from mesh_refresh.blank import some
from mesh_refresh.enums import AuthStatus, known

_LONGEST_LIFETIME = timedelta(days=36_500).total_seconds()


def text(value: Any) -> str | None:
    """Any text."""
    return value if type(value) is str else None


def token(value: Any) -> str | None:
    """A token: text, or a whole number as its digits. The messages make None of blank text."""
    return value if type(value) is str else str(value) if type(value) is int else None


def identifier(value: Any) -> str | None:
    """An id: text that is not blank, or a whole number as its digits."""
    return some(token(value))


def amount(value: Any) -> float | None:
    """A number, or text with a number. None for infinity, and for a value that is no number."""
    if type(value) is float:
        return value if isfinite(value) else None
    if type(value) is not str:
        return value if type(value) is int else None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if isfinite(number) else None


def flag(value: Any) -> bool | None:
    """True or false."""
    return value if type(value) is bool else None


def lifetime(value: Any) -> timedelta | None:
    """A number of seconds as a span. None for zero, for negative numbers, and for more than a hundred years."""
    seconds = amount(value)
    if seconds is None or not 0 < seconds <= _LONGEST_LIFETIME:
        return None
    return timedelta(seconds=seconds)


def auth_status(value: Any) -> AuthStatus | str | None:
    """A member of the open enumeration, or a text that is not in it."""
    return known(AuthStatus, value) if type(value) is str else None
