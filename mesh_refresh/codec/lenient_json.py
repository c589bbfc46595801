"""Reading JSON that breaks the rules, and making of it a value that can be stored and sent again. Pure.

A value that orjson refuses or rounds must not cost the token beside it: NaN, an integer over 64 bits, a control
character or half a character in a name, bytes of another encoding, a nesting too deep for parsers, a repeated key.
"""

import json
import re
from collections.abc import Callable
from math import isfinite
from typing import Any

import orjson

from mesh_refresh.blank import is_blank

_TO_THE_BYTE = ("token", "id")
"""How the names of tokens and ids end."""
_LEAST, _MOST = -(2**63), 2**64 - 1
"""The integers that orjson reads and writes exactly."""
_AS_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_MANY_DIGITS, _MANY_BELOW_ZERO = b"0" * 20, b"-" + b"0" * 19
"""The text of every other integer contains one of these, with all digits made zeros. Quicker than an expression."""
_DIGITS = b"0" * 19
"""Both contain this: one search instead of two."""
_DEEPEST = 100
"""orjson writes 254 levels, and a document of ours puts some around a reply's."""
_MOST_DOUBLED = 100
"""An object with more repeated keys is no reply of Mesh, and joining them would take too long."""
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]', re.DOTALL)

Pairs = Callable[[list[tuple[str, Any]]], dict[str, Any]]


def read_json(body: bytes) -> tuple[Any, bool]:
    """The JSON value of `body`, and whether it has one. The value can be written as JSON again.

    An integer over 64 bits becomes its digits as text. NaN, infinity and values that lie too deep become None. Of a
    repeated key, objects and lists are joined; of other values, the last one counts that is not null or blank.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _read_slowly(body)
    # orjson silently rounds long integers, and takes the last value of a repeated key.
    zeros = body.translate(_AS_ZEROS)
    if _DIGITS in zeros and (_MANY_DIGITS in zeros or _MANY_BELOW_ZERO in zeros):
        return _read_slowly(body)
    if _hides_tokens(value, body):
        return _read_slowly(body)
    return value, True


def parse_json(body: bytes, pairs: Pairs | None = None) -> Any:
    """The JSON value of `body`, with halves of characters left in. Raises ValueError or RecursionError without one."""
    return _parse(_decoded(body), pairs)


def _hides_tokens(value: Any, body: bytes) -> bool:
    """Whether `body` names more tokens than `value` has at their places: at other places, or under a repeated key."""
    written = body.count(b'Token"') + body.count(b'"tokenId"')
    if not written:
        return False
    content = value.get("content") if type(value) is dict else None
    if type(content) is not dict:
        return True
    entries = content.get("brokerAccountTokens")
    read = _tokens_in(content)
    for entry in entries if type(entries) is list else (entries,):
        read += _tokens_in(entry)
    return read != written


def _tokens_in(place: Any) -> int:
    if type(place) is not dict:
        return 0
    return ("accessToken" in place) + ("refreshToken" in place) + ("tokenId" in place)


def _read_slowly(body: bytes) -> tuple[Any, bool]:
    try:
        text = _decoded(body)
        try:
            value = _mended(_parse(text, _joined))
        except RecursionError:
            value = _mended(_parse(_shallow(text), _joined))
        if not _is_writable(value):
            value = _mended(_parse(_shallow(text), _joined))
        return (value, True) if _is_writable(value) else (None, False)
    except (ValueError, RecursionError):
        return None, False


def _decoded(body: bytes) -> str:
    """`body` as text. Bytes of another encoding, such as those of a name, become halves of characters."""
    encoding = json.detect_encoding(body)
    try:
        return body.decode(encoding, "surrogatepass")
    except UnicodeDecodeError:
        return body.decode(encoding, "surrogateescape")


def _parse(text: str, pairs: Pairs | None) -> Any:
    return json.loads(
        text,
        strict=False,
        parse_int=_integer,
        parse_float=_float,
        parse_constant=_nothing,
        object_pairs_hook=pairs,
    )


def _integer(digits: str) -> int | str:
    if len(digits) > len(str(_LEAST)):
        return digits
    return number if _LEAST <= (number := int(digits)) <= _MOST else digits


def _float(digits: str) -> float | None:
    number = float(digits)
    return number if isfinite(number) else None


def _nothing(_: str) -> None:
    """The value of NaN and of the infinities: None."""


def _joined(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if not 0 < len(pairs) - len(value) <= _MOST_DOUBLED:
        return value
    value = {}
    for key, item in pairs:
        value[key] = _both(value[key], item) if key in value else item
    return value


def _both(first: Any, last: Any) -> Any:
    """The value of a repeated key."""
    if type(first) is dict and type(last) is dict:
        return _joined([*first.items(), *last.items()])
    if type(first) is list and type(last) is list:
        return [*first, *(item for item in last if item not in first)]
    says_nothing = last is None or (type(last) is str and is_blank(last)) or last in ([], {})
    return first if says_nothing else last


def _is_writable(value: object) -> bool:
    """Whether `value` can be stored and sent again: half a character (a lone surrogate) cannot."""
    try:
        orjson.dumps(value)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _mended(value: Any, name: str = "") -> Any:
    """`value` with lone surrogates replaced: half a character in a person's name must not cost a token.

    In a token or an id they stay, because a changed token would be worthless. Such a reply counts as unreadable.
    """
    if type(value) is dict:
        return {_mended(key): _mended(item, key) for key, item in value.items()}
    if type(value) is list:
        return [_mended(item, name) for item in value]
    if type(value) is not str or name.lower().endswith(_TO_THE_BYTE):
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _shallow(text: str) -> str:
    """`text` with null in place of everything that lies deeper than `_DEEPEST`."""
    kept: list[str] = []
    begin = depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        mark = found[0]
        if mark in "[{":
            depth += 1
            if depth == _DEEPEST + 1:
                kept.append(text[begin : found.start()])
        elif mark in "]}":
            if depth == _DEEPEST + 1:
                kept.append("null")
                begin = found.end()
            depth -= 1
    return "".join([*kept, text[begin:]]) if depth == 0 else text
