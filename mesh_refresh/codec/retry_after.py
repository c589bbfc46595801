"""Reading ``Retry-After`` leniently, in every form that servers use. Pure.

RFC 9110, section 10.2.3, has whole seconds and HTTP dates. Servers and proxies also write fractions, units, quotes,
lists, durations, ISO 8601 dates and Unix times. A form that is not read means that the next request comes too early.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER = timedelta(hours=1)
"""A longer ``Retry-After`` is cut to this: a mistake in a header must not stop refreshing for a year."""

_LONGEST_TEXT = 200
"""No form is longer. The rest of a longer header is not read."""
_FIRST_UNIX_TIME, _FIRST_UNIX_TIME_MS = 1e9, 1e12
"""A number from here on is a time and not a delay: 2001-09-09, as seconds, and as milliseconds since 1970."""

_AMOUNT = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?"
_UNITS = {
    **dict.fromkeys(("ms", "msec", "millisecond"), 0.001),
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("m", "min", "minute"), 60.0),
    **dict.fromkeys(("h", "hr", "hour"), 3600.0),
    **dict.fromkeys(("d", "day"), 86_400.0),
}
_NUMBER = re.compile(_AMOUNT, re.IGNORECASE)
_WITH_UNIT = re.compile(rf"(?<![0-9.:/-])({_AMOUNT})\s*({'|'.join(_UNITS)})s?(?![a-z])", re.IGNORECASE)
_CLOCK = re.compile(r"([0-9]+):([0-5][0-9]):([0-5][0-9](?:\.[0-9]*)?)")


def read_retry_after(value: str, at: datetime) -> timedelta | None:
    """How long to wait from `at`, between zero and `LONGEST_RETRY_AFTER`; None where `value` does not say."""
    wait = max(_waits(value[:_LONGEST_TEXT], at), default=None)
    return None if wait is None else timedelta(seconds=min(max(wait, 0.0), LONGEST_RETRY_AFTER.total_seconds()))


def _waits(text: str, at: datetime) -> Iterator[float]:
    """Each wait that `text` asks for, in seconds. The longest of a list is right for every server that wrote into it.

    Several headers arrive as one list: a proxy adds its own to that of the server behind it.
    """
    whole = _exact(_bare(text), at)
    if whole is not None:
        yield whole
        return
    for part in text.split(","):
        # HTTP dates have a comma too: without its weekday, one in a list is read all the same.
        wait = _exact(_bare(part), at)
        yield from _spelled(part) if wait is None else (wait,)


def _bare(text: str) -> str:
    """`text` without quotes, blanks, and what follows a semicolon."""
    return text.split(";", maxsplit=1)[0].strip().strip("\"'").strip()


def _exact(text: str, at: datetime) -> float | None:
    """A number, a span or a date, where `text` is nothing else."""
    if _NUMBER.fullmatch(text):
        return _from_now(float(text), at)
    clock = _CLOCK.fullmatch(text)  # a span as .NET writes it
    if clock is not None:
        hours, minutes, seconds = map(float, clock.groups())
        return hours * 3600 + minutes * 60 + seconds
    moment = _moment(text)
    return None if moment is None else (moment - at).total_seconds()


def _spelled(text: str) -> Iterator[float]:
    """Numbers with units, anywhere in `text`: "30 seconds", "1m30s", "PT1M30S", "try again in 1 minute"."""
    parts = [max(float(amount), 0.0) * _UNITS[unit.lower()] for amount, unit in _WITH_UNIT.findall(text)]
    if parts:
        yield sum(parts)


def _from_now(seconds: float, at: datetime) -> float:
    """A delay as it is, or what is left until a Unix time."""
    if seconds < _FIRST_UNIX_TIME:
        return seconds
    return (seconds if seconds < _FIRST_UNIX_TIME_MS else seconds / 1000) - at.timestamp()


def _moment(text: str) -> datetime | None:
    """The date in `text`: of RFC 1123, RFC 850, C's asctime, or ISO 8601. Without a zone it is in UTC."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return None
