"""Reads the logins in a line of an import. Pure. No error quotes the content of a line."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from mesh_refresh import InvalidRequest, Tokens, codec
from mesh_refresh.cli.refresh.documents import continuation
from mesh_refresh.keeper.arguments import check_login
from mesh_refresh.masking import concealed
from mesh_refresh.replies.lineage import Credential, refresh_token_of

_IDS = ("login", "login_id")
_BESIDE = ("tokens", "link", "payload")
"""The keys under which a line has its tokens. `Tokens.from_link` knows the other envelopes of a payload."""
_MFA = "mesh_refresh.mfa_required"
_CLOCKS_DIFFER = timedelta(hours=1)


@frozen
class InputLine:
    """A line with a login, or with some accounts of one."""

    number: int
    """The number of the line; in a file that is one document, the place in its array."""
    login_id: str
    tokens: tuple[Tokens, ...]
    aged: bool
    """Whether the age of the tokens is known."""


@frozen
class BadLine:
    """A line that cannot be imported, and why."""

    number: int
    why: str


@frozen
class Reading:
    """What a line is read with."""

    now: datetime
    """The time of the import."""
    credential: Credential = refresh_token_of
    """What an exchange of tokens spends, by the strategy of their broker."""


def read_entries(number: int, document: Any, reading: Reading) -> list[InputLine | BadLine]:
    """The logins in `document`, which is one or an array of them."""
    items = document if isinstance(document, list) else [document]
    return [_read_entry(number, concealed(item), reading) for item in items]


def parse_json(text: bytes | str) -> Any:
    """The JSON value in `text`, masked. Raises `InvalidRequest` for other text."""
    value = codec.json_of(text)
    del text
    if isinstance(value, codec.Wrong):
        raise InvalidRequest("it is not JSON.")
    return concealed(value)


def _read_entry(number: int, document: Any, reading: Reading) -> InputLine | BadLine:
    try:
        return _read(number, document, reading)
    except InvalidRequest as error:
        return BadLine(number, str(error))


def _read(number: int, document: Any, reading: Reading) -> InputLine:
    if not isinstance(document, dict):
        raise InvalidRequest("it is not a JSON object.")
    login_id = _login_id(document)
    at = _parse_time(document.get("obtained_at", document.get("obtainedAt")), reading.now)
    found, aged = _tokens(document, at, reading.now)
    tokens = _add_trade_token(tuple(found), document)
    # The keeper checks it too, but its error is about many lines together.
    check_login(login_id, tokens)
    if not aged:
        tokens = tuple(_mark_expired(entry, reading) for entry in tokens)
    return InputLine(number, login_id, tokens, aged)


def _login_id(document: Mapping[str, Any]) -> str:
    found = next((document[name] for name in _IDS if document.get(name) is not None), None)
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        raise InvalidRequest('it has no "login", which is your own id for the login.')
    return str(found)


def _parse_time(value: object, now: datetime) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidRequest('"obtained_at" must be a time such as 2026-11-23T16:00:00+00:00.')
    if moment > now + _CLOCKS_DIFFER:
        raise InvalidRequest('"obtained_at" is in the future.')
    return moment


def _tokens(document: dict[str, Any], at: datetime | None, now: datetime) -> tuple[Iterable[Tokens], bool]:
    """The tokens, and whether their age is known."""
    kind = document.get("format")
    if kind == _MFA:
        # The broker is asked for a new code: a store has only the questions of its own exchanges.
        return [continuation(document).tokens], True
    found: Any = document
    if kind is None:
        found = concealed(next((document[name] for name in _BESIDE if document.get(name) is not None), document))
    if isinstance(found, str):
        found = parse_json(found)
    if isinstance(found, dict) and "format" in found:
        found = [found]
    if isinstance(found, list):
        return _documents(found, at)
    if not isinstance(found, dict):
        raise InvalidRequest("it has neither a Link payload nor tokens documents.")
    if found is document and not codec.is_link_payload(document):
        raise InvalidRequest('it has neither a Link payload, as "payload", nor "tokens".')
    return Tokens.from_link(found, obtained_at=at or now), at is not None


def _documents(found: list[Any], at: datetime | None) -> tuple[Iterable[Tokens], bool]:
    """The tokens of documents, which have their own times; `at` is for those that have none."""
    if not all(isinstance(item, dict) for item in found):
        raise InvalidRequest('"tokens" must be an array of tokens documents.')
    if not all("format" in item for item in found):
        raise InvalidRequest('a document in "tokens" has no "format": write it with Tokens.to_json.')
    tokens = [Tokens.from_document(item) for item in found]
    if at is not None:
        return [entry if entry.obtained_at else evolve(entry, obtained_at=at) for entry in tokens], True
    return tokens, all(entry.obtained_at or entry.expires_at for entry in tokens)


def _add_trade_token(tokens: tuple[Tokens, ...], document: Mapping[str, Any]) -> tuple[Tokens, ...]:
    """`tokens` with WeBull's trade token, which is not in the payload of Link but beside it."""
    trade = document.get("trade_token", document.get("tradeToken"))
    if trade is None:
        return tokens
    return tuple(entry if entry.trade_token else evolve(entry, trade_token=trade) for entry in tokens)


def _mark_expired(tokens: Tokens, reading: Reading) -> Tokens:
    """`tokens` of unknown age, as expired: they are refreshed before they are handed out, if they can be."""
    if reading.credential(tokens) is None or tokens.auth_token is None:
        return tokens
    return evolve(tokens, obtained_at=reading.now, expires_at=reading.now)
