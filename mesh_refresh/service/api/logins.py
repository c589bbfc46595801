"""The routes about one login, and the list of all."""

from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import hdrs, web

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper import UnknownLogin
from mesh_refresh.logins.versions import is_version
from mesh_refresh.masking import MaskedDict, MaskedStr, hides_locals
from mesh_refresh.service.api.call import ApiCall, answer_json
from mesh_refresh.service.api.documents import added_document, login_document, tokens_document
from mesh_refresh.service.api.parameters import check_fields, number_of, span_of, text_of, time_of
from mesh_refresh.service.api.segments import read_base64, write_base64
from mesh_refresh.stores.row import CLOCK_TOLERANCE
from mesh_refresh.tokens import Tokens

_PAGE, _LARGEST_PAGE = 100, 500
_MOST_ACCOUNTS = 500
"""Of one login. Each is compared with each."""
_MOST_WAIT = timedelta(seconds=50)
"""Proxies end a request after a minute."""
_CREDENTIALS = {"access_token": "access token", "token_id": "token id", "trade_token": "trade token"}


async def give_tokens(call: ApiCall) -> dict[str, Any]:
    """``GET tokens``: fresh ones, refreshed first where they must be."""
    valid_for = span_of("validFor", call.query.get("validFor")) or timedelta()
    max_wait = span_of("maxWait", call.query.get("maxWait"), most=_MOST_WAIT)
    found = await call.keeper.tokens(call.login_id, call.account, valid_for=valid_for, max_wait=max_wait)
    return _tokens(call, found)


async def replace_rejected(call: ApiCall) -> dict[str, Any]:
    """``POST tokens/rejected``: others, unless the caller's version is not of the stored ones any more."""
    version = text_of(call.body, "version", required=True) or ""
    if not is_version(version):
        raise InvalidRequest("version must be that of an answer with tokens.")
    return _tokens(call, await call.keeper.tokens(call.login_id, call.account, rejected=version))


async def refresh(call: ApiCall) -> dict[str, Any]:
    """``POST refresh``: exchange now, due or not."""
    await call.keeper.refresh(call.login_id, call.account)
    return await show_login(call)


async def submit_code(call: ApiCall) -> dict[str, Any]:
    """``POST mfa``: the code that a person typed."""
    code = MaskedStr(text_of(call.body, "code", required=True))
    pending_id = text_of(call.body, "pendingId")
    await call.keeper.submit_mfa(call.login_id, code, pending_id=pending_id, account_id=call.account)
    return await show_login(call)


async def ask_again(call: ApiCall) -> dict[str, Any]:
    """``POST mfa/restart``: make the broker send another code."""
    await call.keeper.restart_mfa(call.login_id, call.account)
    return await show_login(call)


async def show_login(call: ApiCall) -> dict[str, Any]:
    """``GET`` of a login."""
    return login_document(await call.keeper.login(call.login_id))


async def add_login(call: ApiCall) -> web.Response:
    """``PUT`` of a login: what Link handed over."""
    if not call.caller.sees(call.shown or ""):
        raise UnknownLogin
    only_new = _is_only_new(call.headers.get(hdrs.IF_NONE_MATCH), call.headers.get(hdrs.IF_MATCH))
    now = call.keeper.now()
    tokens = await call.aside(read_login, call.body, now)
    added = await call.keeper.add(call.login_id, tokens, only_new=only_new)
    call.outcome = "done" if added.changed else "unchanged"
    call.facts["broker"] = tokens[0].broker
    return answer_json(added_document(added), 201 if added.created else 200)


async def remove_login(call: ApiCall) -> web.Response:
    """``DELETE`` of a login."""
    if not await call.keeper.remove(call.login_id):
        raise UnknownLogin
    return web.Response(status=204)


async def list_logins(call: ApiCall) -> dict[str, Any]:
    """``GET`` of all logins, page by page; those that the caller's prefix allows."""
    caller, query = call.caller, call.query
    limit = number_of("limit", query.get("limit"), _PAGE, _LARGEST_PAGE)
    cursor = None if "cursor" not in query else read_base64(query["cursor"])
    if "cursor" in query and not cursor:
        raise InvalidRequest("cursor must be the next of an answer before.")
    as_of = call.keeper.now()
    page = await call.keeper.page(
        limit,
        state=query.get("state"),
        broker=query.get("broker"),
        changed_since=time_of("changedSince", query.get("changedSince")),
        after=max(filter(None, (cursor, start_before(caller.prefix))), default=None),
    )
    last = page[-1].login_id if len(page) == limit else None
    if last is not None and last > caller.prefix and not caller.sees(last):
        last = None  # behind all that the caller may see
    return {
        "logins": [login_document(login) for login in page if caller.sees(login.login_id)],
        "next": None if last is None else write_base64(last),
        "asOf": as_of.astimezone(UTC).isoformat(),
    }


@hides_locals
def read_login(document: MaskedDict, now: datetime) -> tuple[Tokens, ...]:
    """The tokens in Link's payload, or in ``{"payload": ..., "obtainedAt": ...}`` around it."""
    payload, obtained_at = document, None
    if "payload" in document or "obtainedAt" in document:
        check_fields(document, ("payload", "obtainedAt", "type"))  # with "type", it is the event of Link's SDKs
        if not isinstance(document.get("payload"), dict):
            raise InvalidRequest("payload must be what Link handed over: a JSON object.")
        payload, obtained_at = MaskedDict(document["payload"]), time_of("obtainedAt", document.get("obtainedAt"))
        if obtained_at is not None and obtained_at > now + CLOCK_TOLERANCE:
            raise InvalidRequest("obtainedAt is in the future.")
    accounts = payload.get("accountTokens")
    if isinstance(accounts, list) and len(accounts) > _MOST_ACCOUNTS:
        raise InvalidRequest(f"A login has at most {_MOST_ACCOUNTS} accounts.")
    return Tokens.from_link(payload, obtained_at=obtained_at or now)


def _tokens(call: ApiCall, tokens: Tokens) -> dict[str, Any]:
    spends = call.keeper.credential(tokens)
    for name, words in _CREDENTIALS.items():
        if spends is not None and getattr(tokens, name) == spends:
            call.facts["credential"] = words
    return tokens_document(call.shown or "", tokens)


def _is_only_new(if_none_match: str | None, if_match: str | None) -> bool:
    if if_match is not None or if_none_match not in (None, "*"):
        raise InvalidRequest("Of conditions, there is If-None-Match: * alone.")
    return if_none_match is not None


def start_before(prefix: str) -> str | None:
    """A text before all that begin with `prefix`, and behind almost all others that are before these."""
    if not prefix:
        return None
    last = ord(prefix[-1])
    if not last:
        return prefix[:-1]
    return prefix[:-1] + chr(0xD7FF if last == 0xE000 else last - 1) + "\U0010ffff"
