"""Reading documents as programs store and re-read them: values of any type in, plain values out.

A database, a file or a cache returns values in types of its own: `Decimal`, mappings that are no `dict`, bytes, text in
UTF-16, JSON inside of JSON. A reader of this module takes any value. It gives the value that was asked for, None where
there is nothing (None, blank text), or a `Wrong`. A value that is there and cannot be read is never None.

A reader raises only the errors that a caller's own type raises when it is read. Its caller catches these.
"""

import json
import operator
import re
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from decimal import Decimal
from math import isfinite
from numbers import Real
from typing import Any

from attrs import frozen

from mesh_refresh.blank import is_blank, is_unseen, some
from mesh_refresh.masking import MaskedDict

_LONGEST_LIFETIME = timedelta(days=36_500).total_seconds()
_BYTES = (bytes, bytearray, memoryview)
_OURS = (dict, MaskedDict)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_BETWEEN_WORDS = str.maketrans("", "", "_- ")
_NESTED = 4
"""How often JSON may be the text of a JSON string: as in a column of JSON that was encoded twice, and some more."""
_NO_NUMBERS = ("bool", "bool_", "datetime64", "timedelta64")
"""Types that are no numbers here, though Python or numpy converts them to integers."""
_DYNAMODB = {"S", "N", "B", "M", "L", "BOOL", "NULL", "SS", "NS", "BS"}


@frozen
class Wrong:
    """A value that cannot be read."""

    why: str
    """A phrase to follow the value's name, such as "is not text". It quotes nothing of the value."""


TWICE = Wrong("stands there twice, with different values")


def text_of(value: object) -> str | Wrong | None:
    """A token or an id, to the byte. A whole number is its digits."""
    if value is None:
        return None
    value = _decoded(value)
    if value is None or isinstance(value, Wrong):
        return value
    if isinstance(value, str):
        return some(_paired(value))
    number = _number(value)
    if isinstance(number, int):
        return str(number)
    if isinstance(number, Decimal) and number.is_finite() and number == number.to_integral_value():
        return str(int(number))
    return instead(value, "not text")


def lifetime_of(value: object) -> timedelta | Wrong | None:
    """A span, from a number of seconds, text with such a number, or a span. None for zero and less: unknown."""
    value = _decoded(value)
    if value is None or isinstance(value, Wrong):
        return value
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, str):
        if is_unseen(value):
            return None
        if not _NUMBER.fullmatch(value.strip()):
            return Wrong("is text that is not a number of seconds")
        value = float(value)
    number = _number(value)
    if number is None:
        return instead(value, "not a number of seconds")
    try:
        seconds = float(number)
    except (OverflowError, ValueError):  # an integer of 400 digits, a signalling NaN
        seconds = float("inf")
    if not isfinite(seconds):
        return Wrong("is not a finite number of seconds")
    if seconds > _LONGEST_LIFETIME:
        return Wrong("is more than a hundred years: it should be a number of seconds")
    return (timedelta(seconds=seconds) or None) if seconds > 0 else None


def whole_of(value: object) -> int | None:
    """A whole number of any type that has one, such as `Decimal` or `float`; None for others, and for text."""
    number = _number(value)
    if number is None or isinstance(number, int):
        return number
    return int(number) if isfinite(number) and number == int(number) else None


def object_of(value: object) -> MaskedDict | Wrong | None:
    """The names and values of a mapping, or of a JSON object as text or bytes. The values are left as they are."""
    value = json_of(value)
    if value is None:
        return None
    if isinstance(value, Wrong):
        return Wrong(f"is not a JSON object: it {value.why}")
    if not _is_mapping(value):
        return instead(value, "not a JSON object")
    found = _items(value)
    return _other_form(found) or found


def json_of(value: object) -> object:
    """The value of JSON text or bytes, also where it was encoded several times. None for blank text.

    A value that is neither text nor bytes is given as it is.
    """
    for _ in range(_NESTED):
        value = _decoded(value)
        if not isinstance(value, str):
            return value
        if is_blank(value):
            return None
        try:
            value = json.loads(value.lstrip("\ufeff"), strict=False, object_pairs_hook=_joined)
        except (ValueError, RecursionError):
            return Wrong("is text that is not JSON")
    return Wrong("is JSON inside of JSON, too often") if isinstance(value, str) else value


def list_of(value: object) -> list[Any] | Wrong | None:
    """The items of a list, or of any other collection, or of one as JSON text. An object alone is a list of one."""
    value = json_of(value)
    if value is None or isinstance(value, Wrong):
        return value
    if _is_mapping(value):
        found = _items(value)
        if found and all(name.isdecimal() for name in found):  # how Firebase and PHP give back a list
            return [found[name] for name in sorted(found, key=int)]
        return _other_form(found) or [value]
    if isinstance(value, Collection):
        return list(value)
    return instead(value, "not a list")


def named(found: Mapping[str, Any], names: Mapping[str, str]) -> MaskedDict:
    """`found` with its keys spelled as in `names`, which has them folded too. Other keys stay."""
    level = MaskedDict()
    for key in found:
        _put(level, names.get(key) or names.get(folded(key), key), found[key])
    return level


def folded(name: str) -> str:
    """`name` in lower case, without separators of words, blanks around it, and a byte order mark."""
    return name.strip("\ufeff \t\r\n").translate(_BETWEEN_WORDS).lower()


def is_absent(value: object) -> bool:
    """Whether `value` is nothing: None, or text or bytes that are blank."""
    if value is None:
        return True
    value = _decoded(value)
    return isinstance(value, str) and is_blank(value)


def is_text(value: object) -> bool:
    """Whether it is text, or bytes."""
    return isinstance(value, (str, *_BYTES))


def instead(value: object, wanted: str) -> Wrong:
    """The `Wrong` for a value that is not what is `wanted`. It says what the value is, never its content."""
    if _is_mapping(value):
        try:
            form = _other_form(_items(value))
        except Exception:  # noqa: BLE001 - a mapping of the caller's may raise anything: it is a mapping all the same
            form = None
        return form or Wrong(f"is an object, {wanted}")
    if isinstance(value, list | tuple):
        return Wrong(f"is a list, {wanted}")
    return Wrong(f"is of type {type(value).__name__}, {wanted}")


def _decoded(value: object) -> object:
    """Bytes and subclasses of `str` as text; anything else as it is."""
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if not isinstance(value, _BYTES):
        return value
    data = bytes(value)
    try:
        # UTF-16 and UTF-32 are told by their byte order mark, or by the zeros in the first characters of JSON.
        return data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        return Wrong("is bytes that are not text")


def _paired(text: str) -> str:
    """`text` with halves of a character joined: a YAML parser leaves apart the halves that JSON writes."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return text  # one half alone, which is refused where it is checked


def _joined(pairs: list[tuple[str, Any]]) -> MaskedDict:
    found = MaskedDict()
    for key, item in pairs:
        _put(found, key, item)
    return found


def _is_mapping(value: object) -> bool:
    """Whether `value` has keys, as `dict()` tells: rows of `sqlite3` and asyncpg are no `Mapping`."""
    return isinstance(value, Mapping) or (hasattr(type(value), "keys") and hasattr(type(value), "__getitem__"))


def _items(value: Any) -> MaskedDict:
    if type(value) in _OURS and all([type(key) is str for key in value]):
        return MaskedDict(value)
    found = MaskedDict()
    # multidict's way to all the values of a key, or that of Werkzeug and Django.
    get_all: Callable[[Any], Collection[Any]] | None = getattr(value, "getall", None) or getattr(value, "getlist", None)
    for key in value.keys():  # noqa: SIM118 - a row of sqlite3 iterates over its values
        name = _decoded(key)
        if isinstance(name, str):
            for item in (value[key],) if get_all is None else get_all(key):
                _put(found, name, item)
    return found


def _put(found: MaskedDict, name: str, item: object) -> None:
    """Set `name`. Of a repeated key, the value counts that is not absent; two different ones are a `Wrong`."""
    if name not in found or is_absent(found[name]):
        found[name] = item
    elif not is_absent(item) and not bool(found[name] == item):
        found[name] = TWICE


def _other_form(found: MaskedDict) -> Wrong | None:
    """The `Wrong` for a value that a database has wrapped in the name of its type; None where it has not."""
    if len(found) != 1:
        return None
    (key,) = found
    if key in _DYNAMODB:
        return Wrong("is in the wire form of DynamoDB: read it with boto3's TypeDeserializer first")
    if key.startswith("$"):
        return Wrong("is in the extended JSON of MongoDB: read it with bson.json_util.loads first")
    return None


def _number(value: Any) -> int | float | Decimal | None:
    if hasattr(type(value), "to_decimal"):  # Decimal128 of bson
        value = value.to_decimal()
    if type(value).__name__ in _NO_NUMBERS:
        return None
    if hasattr(type(value), "__index__"):
        return operator.index(value)
    if isinstance(value, Decimal):
        return value
    return float(value) if isinstance(value, Real) else None
