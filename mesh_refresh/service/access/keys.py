"""Access keys as values, and the document that keeps them: as hashes, from which no key can be read."""

import hashlib
import json
import re
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from attrs import asdict, field, frozen

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedStr

_BEGIN = "mrk_"
_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_HEAD = (
    "# Keys of callers of mesh_refresh: `mesh-refresh access` writes this file. It holds no key, but hashes of keys.\n"
)


class Scope(StrEnum):
    """What a key allows."""

    TOKENS = "tokens"
    """Reads access tokens, and reports those that a broker refused."""
    ADD = "add"
    """Adds logins, or new tokens of theirs."""
    OPERATE = "operate"
    """Refreshes a login, types MFA codes, pauses and resumes brokers."""
    REMOVE = "remove"
    """Removes logins."""
    READ = "read"
    """Reads states and counts, no tokens."""
    METRICS = "metrics"
    """Reads ``/metrics``."""


@frozen
class AccessKey:
    """What is kept of a key, and what it allows. Raises `InvalidRequest` for values that cannot be."""

    name: str
    """Letters, digits, ``.``, ``_`` and ``-``; at most 64 of them. Audit lines have it."""
    hash: str = field(repr=False)
    """SHA-256 of the key, in lower-case hexadecimal digits."""
    scopes: frozenset[Scope]
    prefix: str = ""
    """Only logins whose ids begin so."""
    rate: float | None = None
    """Requests a second; None is no limit."""
    expires: datetime | None = None
    """From then on it opens nothing. It has a time zone."""

    def __attrs_post_init__(self) -> None:
        for is_right, what in (
            (bool(_NAME.fullmatch(self.name)), "its name must be 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'"),
            (bool(_HASH.fullmatch(self.hash)), "its hash is no SHA-256 in hexadecimal digits"),
            (bool(self.scopes) and all(isinstance(scope, Scope) for scope in self.scopes), "it needs scopes"),
            (self.rate is None or _is_rate(self.rate), "its rate must be a number from 0.000001 to 1000000"),
            (self.expires is None or self.expires.tzinfo is not None, "its end has no time zone"),
        ):
            if not is_right:
                raise InvalidRequest(f"This access key cannot be: {what}.")

    @classmethod
    def generate(cls, name: str, scopes: Iterable[Scope], **limits: Any) -> tuple[Self, str]:
        """A new key: what to keep of it, and the key itself (``mrk_`` and 256 random bits), which is shown once.

        `limits` are `prefix`, `rate` and `expires`.
        """
        text = MaskedStr(_BEGIN + secrets.token_urlsafe(_BYTES))
        return cls(name, hash_of(text), frozenset(scopes), **limits), text

    def is_expired(self, now: datetime) -> bool:
        """Whether it opens nothing any more at `now`."""
        return self.expires is not None and now >= self.expires


def _is_rate(rate: float) -> bool:
    return rate is not True and 1e-6 <= rate <= 1e6


def hash_of(key: str) -> str:
    """What is kept of `key`: SHA-256, in hexadecimal digits. A key is random, so it needs no salt and no stretching."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def read_keys(text: bytes) -> tuple[AccessKey, ...]:
    """The keys of a document in TOML: a table ``[keys.NAME]`` for each. Raises `InvalidRequest`, quoting nothing."""
    try:
        document = tomllib.loads(text.decode())
        if document.keys() - {"keys"}:
            raise ValueError("it has other names than keys")
        return tuple(_read_key(name, table) for name, table in document.get("keys", {}).items())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise InvalidRequest("The access file is no TOML.") from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        why = str(error) if type(error) in (ValueError, InvalidRequest) else "a table of it is no key"
        raise InvalidRequest(f"The access file cannot be used: {why}") from None


def write_keys(keys: Iterable[AccessKey]) -> str:
    """The document that `read_keys` reads."""
    return _HEAD + "".join(map(_write_key, keys))


def _read_key(name: str, table: Mapping[str, Any]) -> AccessKey:
    known = {"hash", "scopes", "prefix", "rate", "expires"}
    if table.keys() - known:
        raise ValueError("a key has a name that is not known")
    if not isinstance(table.get("prefix", ""), str) or isinstance(table["scopes"], str):
        raise TypeError
    try:
        scopes = frozenset(map(Scope, table["scopes"]))
    except ValueError:
        raise ValueError("a key has a scope that is not known") from None
    values: dict[str, Any] = {**table, "scopes": scopes}
    return AccessKey(name, **values)


def _write_key(key: AccessKey) -> str:
    values = asdict(key, filter=lambda attribute, value: value is not None and attribute.name != "name")
    values["scopes"] = sorted(key.scopes)
    lines = (f"{name} = {_write_value(value)}\n" for name, value in values.items())
    return f"\n[keys.{json.dumps(key.name)}]\n{''.join(lines)}"


def _write_value(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    # TOML takes JSON's strings, numbers and lists. But it wants DEL escaped, and no surrogates.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
