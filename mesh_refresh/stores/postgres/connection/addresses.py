"""Reads the URL of a store in PostgreSQL, without any I/O."""

import re
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import field, frozen

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedStr, hides_locals, masked
from mesh_refresh.stores.checks import check_text

PATIENCE = timedelta(seconds=10)
"""How long a connection or an answer may take, where nothing else is said."""
_SCHEMES = ("postgresql://", "postgres://")
_OTHER_SCHEME = re.compile(
    r"((?:jdbc:)?(?:postgres|postgresql|psql|pgsql|cockroachdb|redshift|mysql|mariadb|sqlite|oracle|mssql)"
    r"(?:\+\w{1,20})?://)",
    re.IGNORECASE,
)
"""What may be shown of a URL: these words are no part of a password."""
_OURS = ("schema", "transaction_pooling")
_HOST = re.compile(r"(\[[\w:.%]+\]|[^:\[\]]*)(:(?P<port>\d{1,5}))?")
_YES, _NO = ("1", "on", "true", "yes"), ("0", "off", "false", "no")


@frozen
class Target:
    """A database, and how to talk to it."""

    url: str = field(repr=masked)
    """For asyncpg; with the password in it."""
    shown: str
    """Where it is, without anything secret."""
    schema: str
    pooled: bool
    """A transaction-pooling proxy stands before it: nothing outlives a transaction."""
    patience: timedelta
    """How long to wait for a connection or an answer."""


@hides_locals
def target(url: object, schema: str | None, patience: object, *, pooled: bool | None) -> Target:
    """What `url` and the options say. Raises `InvalidRequest` for what is no URL of PostgreSQL, without showing it."""
    if not isinstance(patience, timedelta) or patience <= timedelta():
        raise InvalidRequest("timeout must be a timedelta above zero.")
    if (scheme := other_scheme(url)) is not None:
        raise InvalidRequest(
            f"PostgresStore takes a URL that begins with postgresql://, and not with {scheme}: "
            "leave the rest as it is, if it is one of PostgreSQL."
        )
    address = _address(url)
    if address is None:
        raise InvalidRequest(
            "PostgresStore takes a URL such as postgresql://user:password@host:5432/database. "
            "Percent-encode what is special in the password: @ as %40, / as %2F, ? as %3F, # as %23."
        )
    schema = address.options.get("schema", "mesh_refresh") if schema is None else schema
    check_schema(schema)
    if pooled is None:
        pooled = _flag(address.options.get("transaction_pooling", "no"))
    return Target(address.url, f"{address.place} (schema {schema})", schema, pooled, patience)


def other_scheme(url: object) -> str | None:
    """With what the URL of another library or database begins, which may be shown; None for anything else."""
    found = _OTHER_SCHEME.match(url) if isinstance(url, str) else None
    return None if found is None or found[1] in _SCHEMES else found[1]


def check_schema(schema: object) -> None:
    """Raises `InvalidRequest` for what cannot be the name of a schema."""
    if not isinstance(schema, str) or not 0 < len(schema.encode(errors="replace")) <= 63 or "\0" in schema:
        raise InvalidRequest("The schema must be a name of 1 to 63 bytes.")
    check_text(schema)
    if schema.startswith("pg_"):
        raise InvalidRequest("The schema must not begin with pg_: those are PostgreSQL's own.")
    if {"{", "}"} & set(schema):
        raise InvalidRequest(
            "The schema must not have braces in its name."
        )  # the statements say with them what is filled in


@frozen
class _Address:
    url: str = field(repr=masked)
    """For asyncpg."""
    place: str
    """The hosts and the database."""
    options: Mapping[str, str]
    """Those of ours."""


def _address(url: object) -> _Address | None:
    """None for what is no URL of PostgreSQL, or may be read in two ways: part of a password would pass for a host."""
    if not isinstance(url, str) or not url.startswith(_SCHEMES):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    hosts = parts.netloc.rpartition("@")[2]
    asked = parse_qsl(parts.query, keep_blank_values=True)
    if (
        not all(map(_is_host, hosts.split(",")))
        or parts.netloc.count("@") > 1
        or "@" in parts.path
        or not all(name.isidentifier() for name, _ in asked)
        or parts.fragment
    ):
        return None
    ours = {name: value for name, value in asked if name in _OURS}
    left = urlencode([pair for pair in asked if pair[0] not in _OURS])
    place = (hosts or dict(asked).get("host", "localhost")) + parts.path
    return _Address(MaskedStr(parts._replace(query=left).geturl()), place, ours)


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and int(found["port"] or 0) < 65_536


def _flag(text: str) -> bool:
    if text.lower() in _YES or text.lower() in _NO:
        return text.lower() in _YES
    raise InvalidRequest("transaction_pooling in the URL of a store must be yes or no.")
