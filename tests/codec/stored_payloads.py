"""Payloads of Link, and the forms in which programs get them back from where they stored them. For Hypothesis."""

import collections
import csv
import io
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import yaml
from hypothesis import strategies as st
from multidict import MultiDict

from mesh_refresh import Tokens

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
Payload = dict[str, Any]

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8).map(lambda end: f"fake-{end}")
_LIFETIME = st.none() | st.integers(-1, 10_000_000)
_IDS = st.fixed_dictionaries({}, optional={"accountId": _TEXT, "meshAccountId": _TEXT})
_ENTRY = st.fixed_dictionaries(
    {"account": _IDS, "accessToken": _TEXT}, optional={"refreshToken": _TEXT, "tokenId": _TEXT}
)
_ENDS = {"expiresInSeconds": _LIFETIME, "refreshTokenExpiresInSeconds": _LIFETIME}
LISTED: st.SearchStrategy[Payload] = st.fixed_dictionaries(
    {
        "accountTokens": st.lists(_ENTRY, min_size=1, max_size=3),
        "brokerType": st.sampled_from(["coinbase", "weBull", "brokerOfTomorrow"]),
        "brokerBrandInfo": st.just({"brokerLogo": "x"}),
        **_ENDS,
    }
)
DELAYED: st.SearchStrategy[Payload] = st.fixed_dictionaries(
    {
        "refreshToken": _TEXT,
        "refreshTokenExpiresInSeconds": _LIFETIME,
        "brokerType": st.just("interactiveBrokers"),
    }
)


def expected(payload: Payload) -> tuple[Tokens, ...]:
    """The tokens of a payload as Link writes it, read without the package's reader."""

    def end(name: str, token: str | None) -> datetime | None:
        seconds = payload.get(name)
        return AT + timedelta(seconds=seconds) if token and seconds and seconds > 0 else None

    delayed = "accountTokens" not in payload
    return tuple(
        Tokens(
            payload["brokerType"],
            entry.get("refreshToken"),
            access_token=entry.get("accessToken"),
            token_id=entry.get("tokenId"),
            account_id=entry.get("account", {}).get("accountId"),
            mesh_account_id=entry.get("account", {}).get("meshAccountId"),
            obtained_at=AT,
            expires_at=end("expiresInSeconds", entry.get("accessToken")),
            refresh_token_expires_at=end("refreshTokenExpiresInSeconds", entry.get("refreshToken")),
            not_before=AT + timedelta(hours=24) if delayed else None,
        )
        for entry in payload.get("accountTokens", [payload])
    )


# Types of drivers and libraries that are not installed here, with what of them matters.


class Document(Mapping[str, Any]):
    """A mapping that is no dict, as of bson and SQLAlchemy."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Record:
    """A row that has keys and is no mapping, as of asyncpg; it iterates over its values."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def keys(self) -> Iterator[str]:
        return iter(self._values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values.values())


class Items(Sequence[Any]):
    """A sequence that is no list, as of protobuf."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = list(values)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __len__(self) -> int:
        return len(self._values)


class Text(str):
    """Text of a library's own type; what it shows of itself is something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "<Text>"


class Whole:
    """An integer of a type that only has an index, as numpy's may."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


class Decimal128:
    """A decimal as bson gives it."""

    def __init__(self, value: int) -> None:
        self._value = value

    def to_decimal(self) -> Decimal:
        return Decimal(self._value)


# What a program does before it stores a payload.


def as_it_is(payload: Payload) -> Payload:
    return payload


def flat(payload: Payload) -> Payload:
    """A single account with its tokens beside the broker; its ids too."""
    entries = payload.get("accountTokens", [])
    if len(entries) != 1:
        return payload
    rest = {key: value for key, value in payload.items() if key != "accountTokens"}
    return {**rest, **{key: value for key, value in entries[0].items() if key != "account"}, **entries[0]["account"]}


def with_null_columns(payload: Payload) -> Payload:
    names = ("accountTokens", "accessToken", "refreshToken", "tokenId", "accountId", "delayedAuth", "tradeToken")
    return {**dict.fromkeys(names), **payload}


def with_columns_of_its_own(payload: Payload) -> Payload:
    return {"id": 7, "user": "fake-user", "version": 3, "note": "payload", **payload}


def _renamed(value: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {rename(key): _renamed(item, rename) for key, item in value.items()}
    return [_renamed(item, rename) for item in value] if isinstance(value, list) else value


def in_snake_case(payload: Payload) -> Payload:
    found: Payload = _renamed(
        payload, lambda key: "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
    )
    return found


def in_pascal_case(payload: Payload) -> Payload:
    found: Payload = _renamed(payload, lambda key: key[:1].upper() + key[1:])
    return found


def folded(payload: Payload) -> Payload:
    """As PostgreSQL folds the names of columns."""
    return {key.lower(): value for key, value in payload.items()}


SHAPES = [as_it_is, flat, with_null_columns, with_columns_of_its_own, in_snake_case, in_pascal_case, folded]

WRAPPERS: list[Callable[[Any], Any]] = [
    as_it_is,
    lambda it: {"payload": it},
    lambda it: {"accessTokenPayload": it},
    lambda it: {"type": "integrationConnected", "payload": {"accessToken": it}},
    lambda it: {"id": 7, "created_at": AT.isoformat(), "payload": it, "accessToken": None},
]

# What it gets back, of any type.


def changed(value: Any, *, number: Callable[[int], Any], text: Callable[[str], Any], array: Any, mapping: Any) -> Any:
    """`value` with every part of it in another type."""
    if isinstance(value, dict):
        inner = {
            key: changed(item, number=number, text=text, array=array, mapping=mapping) for key, item in value.items()
        }
        return mapping(inner)
    if isinstance(value, list):
        return array([changed(item, number=number, text=text, array=array, mapping=mapping) for item in value])
    if type(value) is int:
        return number(value)
    return text(value) if isinstance(value, str) else value


def redis_hash(values: Mapping[str, Any]) -> dict[bytes, Any]:
    return {key.encode(): value for key, value in values.items()}


NUMBERS: list[Callable[[int], Any]] = [int, float, Decimal, str, Whole, Decimal128, lambda it: f" {it}.0 ".encode()]
TEXTS: list[Callable[[str], Any]] = [str, Text, str.encode, lambda it: bytearray(it.encode())]
ARRAYS: list[Callable[[list[Any]], Any]] = [list, tuple, collections.deque, Items, json.dumps]
MAPPINGS: list[Callable[[dict[str, Any]], Any]] = [
    dict, Document, MappingProxyType, Record, MultiDict, redis_hash, collections.OrderedDict, collections.ChainMap,
]  # fmt: skip


def _as_json_if_nested(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def csv_row(payload: Payload) -> dict[str, Any]:
    """A row of a file that Excel wrote, with nested values as JSON: all text, and a mark before the first name."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(payload))
    writer.writeheader()
    writer.writerow({key: _as_json_if_nested(value) for key, value in payload.items()})
    text = file.getvalue().encode("utf-8-sig").decode()
    return next(csv.DictReader(io.StringIO(text, newline="")))


def sqlite_row(payload: Payload) -> sqlite3.Row:
    with sqlite3.connect(":memory:") as database:
        database.row_factory = sqlite3.Row
        columns = ", ".join(f'? AS "{name}"' for name in payload)
        values = [_as_json_if_nested(value) for value in payload.values()]
        row: sqlite3.Row = database.execute(f"SELECT {columns}", values).fetchone()
    database.close()
    return row


def _text_forms() -> Iterator[Callable[[Payload], Any]]:
    yield json.dumps
    yield lambda it: json.dumps(it, ensure_ascii=False, indent=2)
    yield lambda it: json.dumps(json.dumps(it))
    yield lambda it: json.dumps(json.dumps(it)).encode()
    yield lambda it: "\ufeff" + json.dumps(it)
    yield lambda it: memoryview(json.dumps(it).encode())
    yield lambda it: yaml.safe_load(yaml.safe_dump(it, allow_unicode=True))
    yield lambda it: yaml.safe_load(json.dumps(it))
    yield csv_row
    yield sqlite_row
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"):
        yield lambda it, encoding=encoding: json.dumps(it, ensure_ascii=False).encode(encoding)  # type: ignore[misc]


TEXT_FORMS = list(_text_forms())


@st.composite
def stored(draw: st.DrawFn) -> tuple[Any, tuple[Tokens, ...]]:
    """A payload as some program gives it back, and the tokens that are in it."""
    payload = draw(LISTED | DELAYED)
    found: Any = payload
    for shape in draw(st.lists(st.sampled_from(SHAPES), max_size=2)):
        found = shape(found)
    found = draw(st.sampled_from(WRAPPERS))(found)
    if draw(st.booleans()):
        return draw(st.sampled_from(TEXT_FORMS))(found), expected(payload)
    return changed(
        found,
        number=draw(st.sampled_from(NUMBERS)),
        text=draw(st.sampled_from(TEXTS)),
        array=draw(st.sampled_from(ARRAYS[:-1])),
        mapping=draw(st.sampled_from(MAPPINGS)),
    ), expected(payload)
