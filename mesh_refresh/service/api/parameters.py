"""What a request says in its query and its body. Pure: each reader gives a value, or raises `InvalidRequest`.

An error names what is expected and quotes nothing that was sent: it may be a secret in the wrong place.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from mesh_refresh import codec
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedDict, hides_locals
from mesh_refresh.validation import read_span

_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_JSON = re.compile(r'application/json\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?;?\s*', re.IGNORECASE)
_MOST_PARAMETERS = 100


class MediaTypeRefused(InvalidRequest):
    """A body that is not said to be JSON."""

    _what = "The body must be JSON in UTF-8, with Content-Type: application/json."


def read_query(raw: str, names: tuple[str, ...]) -> dict[str, str]:
    """The parameters of a query. Each is one of `names`, stands there once, and is not empty."""
    if not raw:
        return {}
    try:
        pairs = parse_qsl(
            raw,
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError:
        raise InvalidRequest("The query is not of the form name=value&name=value, in UTF-8.") from None
    found = dict(pairs)
    if not found.keys() <= set(names):
        allowed = f"There are: {', '.join(names)}." if names else "This takes none."
        raise InvalidRequest(f"The query has a parameter that is not known. {allowed}")
    if len(found) < len(pairs):
        raise InvalidRequest("The query has a parameter twice.")
    for name, value in found.items():
        if not value:
            raise InvalidRequest(f"{name} is empty.")
    return found


def span_of(name: str, text: str | None, *, most: timedelta | None = None) -> timedelta | None:
    """A span of time such as ``90s``, ``10m`` or ``1h30m``."""
    span = None if text is None else read_span(text)
    if text is not None and span is None:
        raise InvalidRequest(f"{name} must be a span of time, such as 20s, 10m or 1h30m.")
    if span is not None and most is not None and span > most:
        raise InvalidRequest(f"{name} must be at most {most.total_seconds():g}s.")
    return span


def time_of(name: str, text: object) -> datetime | None:
    """A time with its offset, in RFC 3339."""
    if text is None:
        return None
    try:
        # An unescaped + of an offset is a blank in a query.
        moment = datetime.fromisoformat(text.replace(" ", "+") if isinstance(text, str) else "")
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidRequest(f"{name} must be a time with its offset, such as 2026-11-23T16:00:00Z.")


def number_of(name: str, text: str | None, default: int, most: int) -> int:
    """A whole number from 1 to `most`."""
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= most:
        raise InvalidRequest(f"{name} must be a whole number from 1 to {most}.")
    return int(text)


@hides_locals
def read_body(body: bytes, content_type: str | None) -> MaskedDict:
    """The JSON object of a body; an empty one for an empty body.

    Repeated names, NaN, numbers that JSON cannot bring across, and half characters are refused: each program would
    read them in its own way.
    """
    if not body:
        return MaskedDict()
    if content_type is not None and not _JSON.fullmatch(content_type):
        raise MediaTypeRefused
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_float
        )
        codec.dumps({"": value})  # refuses whole numbers over 64 bits, and halves of characters
    except InvalidRequest as refusal:
        raise InvalidRequest(str(refusal)) from None
    except (ValueError, TypeError, RecursionError):
        raise InvalidRequest("The body is no JSON text in UTF-8 that all programs read alike.") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return MaskedDict(value)


@hides_locals
def check_fields(document: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Refuses a field that is not one of `names`."""
    if not document.keys() <= set(names):
        raise InvalidRequest(f"The body has a field that is not known. There are: {', '.join(names)}.")


@hides_locals
def text_of(document: Mapping[str, Any], name: str, *, required: bool = False) -> str | None:
    """The text of a field; None where it is absent or null."""
    value = document.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"{name} must be a text that is not empty.")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidRequest("The body has a name twice in one object.")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise InvalidRequest("The body has a number that is none: NaN or Infinity.")


def _float(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise InvalidRequest("The body has a number that is too large.")
    return number
