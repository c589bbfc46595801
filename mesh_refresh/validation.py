"""What is wrong with the parts of `Tokens`, as a sentence, or None. And spans of time, as people write them.

Nothing here raises: a frame that raises shows its locals to error trackers, and these are tokens.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_TEXTS = (
    "refresh_token", "access_token", "trade_token", "token_id",
    "account_id", "mesh_account_id", "account_name", "broker_name",
)  # fmt: skip
MOMENTS = ("obtained_at", "expires_at", "refresh_token_expires_at", "not_before")
NO_MOMENTS = (None, None, None, None)


def wrong_broker(broker: object) -> str | None:
    """For a `BrokerType` or another string that says something."""
    if isinstance(broker, str) and broker.strip():
        return None if _writable(broker) else "The broker is not Unicode text."
    return "The broker must be a BrokerType or another non-empty string."


def wrong_texts(values: tuple[object, ...]) -> str | None:
    """For the tokens, ids and names, in the order of the fields."""
    if all([value is None or (isinstance(value, str) and value.isascii()) for value in values]):
        return None  # nearly always
    for name, value in zip(_TEXTS, values, strict=True):
        if value is not None and (wrong := wrong_text(name, value)) is not None:
            return wrong
    return None


def wrong_text(name: str, value: object) -> str | None:
    """For one of them, or another text that may be absent."""
    if value is None:
        return None
    if not isinstance(value, str):
        return f"{name} must be a string or None, not {type(value).__name__}."
    return None if _writable(value) else f"{name} is not Unicode text."


def _writable(text: str) -> bool:
    """Whether it can be stored and sent: a lone surrogate can be neither."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def wrong_metadata(metadata: object) -> str | None:
    """For what the contract's ``metadata`` can hold."""
    if not isinstance(metadata, Mapping):
        return f"metadata must be a mapping of strings, not {type(metadata).__name__}."
    if all(isinstance(key, str) and (item is None or isinstance(item, str)) for key, item in metadata.items()):
        texts = (text for item in metadata.items() for text in item if text)
        return None if all(map(_writable, texts)) else "metadata is not Unicode text."
    return "metadata must map strings to strings or None: the contract allows nothing else."


def wrong_ref(ref: object) -> str | None:
    """For a key of the user's own."""
    if isinstance(ref, str):
        return None if _writable(ref or "-") else "ref is not Unicode text."
    if isinstance(ref, int) and not isinstance(ref, bool):
        return None if -(2**63) <= ref < 2**63 else "ref must be an integer of at most 64 bits, or a string."
    return f"ref must be a string or an integer, not {type(ref).__name__}."


def wrong_moments(moments: tuple[object, ...]) -> str | None:
    """For the four times, in the order of the fields."""
    for name, value in zip(MOMENTS, moments, strict=True):
        if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
            return f"{name} must be an aware datetime, such as datetime.now(UTC)."
        try:
            in_utc(value)
        except OverflowError:
            return f"{name} is too far away to be told in UTC."
    return None


def in_utc(moment: datetime | None) -> datetime | None:
    """The same moment, told in UTC."""
    return moment if moment is None or moment.tzinfo is UTC else moment.astimezone(UTC)


def read_span(text: str) -> timedelta | None:
    """The span of time that `text` says: ``90s``, ``15m``, ``2h``, ``1d``, ``1h30m``. None: it says none."""
    text = text.strip().lower()
    parts = _PART.findall(text)
    if not parts or "".join(map("".join, parts)) != text:
        return None
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        return None
