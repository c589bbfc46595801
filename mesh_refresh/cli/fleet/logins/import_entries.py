"""What a line of an import says. Pure; nothing of a line's content is in an error."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from mesh_refresh import InvalidRequest, Tokens, codec
from mesh_refresh.cli.refresh.documents import continuation
from mesh_refresh.keeper.arguments import check_login
from mesh_refresh.masking import concealed

_IDS = ("login", "login_id")
_BESIDE = ("tokens", "link", "payload")
"""Where a line has its tokens; what else may be around a payload, `Tokens.from_link` knows."""
_MFA = "mesh_refresh.mfa_required"
_CLOCKS_DIFFER = timedelta(hours=1)


@frozen
class InputLine:
    """One login, or some of its accounts."""

    number: int
    """The line; where a file is one document, the place in its array."""
    login_id: str
    tokens: tuple[Tokens, ...]
    aged: bool
    """Whether it is known how old they are."""


@frozen
class BadLine:
    """Nothing can be done with it."""

    number: int
    why: str


def entries(number: int, document: Any, now: datetime) -> list[InputLine | BadLine]:
    """Those in a document: one, or an array of them."""
    return [_entry(number, concealed(item), now) for item in (document if isinstance(document, list) else [document])]


def parsed(text: bytes | str) -> Any:
    """The JSON of `text`, masked. Raises `InvalidRequest`."""
    value = codec.json_of(text)
    del text
    if isinstance(value, codec.Wrong):
        raise InvalidRequest("it is not JSON.")
    return concealed(value)


def _entry(number: int, document: Any, now: datetime) -> InputLine | BadLine:
    try:
        return _read(number, document, now)
    except InvalidRequest as error:
        return BadLine(number, str(error))


def _read(number: int, document: Any, now: datetime) -> InputLine:
    if not isinstance(document, dict):
        raise InvalidRequest("it is not a JSON object.")
    login_id = _login_id(document)
    at = _moment(document.get("obtained_at", document.get("obtainedAt")), now)
    found, aged = _tokens(document, at, now)
    tokens = _traded(tuple(found), document)
    # The keeper would say the same, but of many lines together.
    check_login(login_id, tokens)
    return InputLine(number, login_id, tokens if aged else tuple(_doubted(it, now) for it in tokens), aged)


def _login_id(document: Mapping[str, Any]) -> str:
    found = next((document[name] for name in _IDS if document.get(name) is not None), None)
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        raise InvalidRequest('it has no "login", your own id of this login.')
    return str(found)


def _moment(value: object, now: datetime) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidRequest('"obtained_at" should be a time such as 2026-11-23T16:00:00+00:00.')
    if moment > now + _CLOCKS_DIFFER:
        raise InvalidRequest('"obtained_at" is in the future.')
    return moment


def _tokens(document: dict[str, Any], at: datetime | None, now: datetime) -> tuple[Iterable[Tokens], bool]:
    """The tokens, and whether it is known how old they are."""
    kind = document.get("format")
    if kind == _MFA:
        # What it waits for is asked for anew: a store has questions of its own exchanges only.
        return [continuation(document).tokens], True
    found: Any = document
    if kind is None:
        found = concealed(next((document[name] for name in _BESIDE if document.get(name) is not None), document))
    if isinstance(found, str):
        found = parsed(found)
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
    """A tokens document knows its own times; `at` is for one that does not."""
    if not all(isinstance(item, dict) for item in found):
        raise InvalidRequest('"tokens" should be an array of tokens documents.')
    if not all("format" in item for item in found):
        raise InvalidRequest('a document in "tokens" has no "format": it should be as Tokens.to_json writes it.')
    tokens = [Tokens.from_document(item) for item in found]
    if at is not None:
        return [it if it.obtained_at else evolve(it, obtained_at=at) for it in tokens], True
    return tokens, all(it.obtained_at or it.expires_at for it in tokens)


def _traded(tokens: tuple[Tokens, ...], document: Mapping[str, Any]) -> tuple[Tokens, ...]:
    """WeBull's trade token is not in what Link hands over: it stands beside it."""
    trade = document.get("trade_token", document.get("tradeToken"))
    if trade is None:
        return tokens
    return tuple(it if it.trade_token else evolve(it, trade_token=trade) for it in tokens)


def _doubted(tokens: Tokens, now: datetime) -> Tokens:
    """Nobody knows how old they are: refreshed before they are handed out, where that can be."""
    if tokens.refresh_token is None or tokens.auth_token is None:
        return tokens
    return evolve(tokens, obtained_at=now, expires_at=now)
