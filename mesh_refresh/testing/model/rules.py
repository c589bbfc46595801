"""What the brokers behind Mesh do with a request that keeps the contract. Pure: it is told the time."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from mesh_refresh.enums import AuthStatus
from mesh_refresh.testing.fake.options import NEEDS_ACCESS_TOKEN, MfaToken, Replies, Sharing, WrongCode
from mesh_refresh.testing.fake.upstream import Seat, end_of
from mesh_refresh.testing.model.contract import Answer, bad_request, failed_content, success, unauthorized_token
from mesh_refresh.testing.model.ledger import End, Issued, Reuse, TokenKind
from mesh_refresh.testing.model.logins import FakeLogin, OpenQuestion, account_of, entry_of
from mesh_refresh.tokens import DELAYED_AUTH

LIFETIME_OF_A_NEW_REFRESH_TOKEN = timedelta(days=90)
"""TD Ameritrade's: told with what ``createNewRefreshToken`` asked for, where the login itself names no lifetime."""


def exchange(login: FakeLogin, record: Issued, body: Mapping[str, Any], now: datetime) -> Answer:
    """What comes of sending `record` in `body`: the answer, with the ledger and the login brought up to date."""
    if body["type"] != login.broker or login.refused:
        return unauthorized_token()
    if record.end in (End.SPENT, End.SIBLING):
        return _spent(login, record, now)
    if not record.alive(now):
        return unauthorized_token()
    access: str = body.get("accessToken") or ""
    if login.broker in NEEDS_ACCESS_TOKEN and not login.seats.has_access(access):
        return unauthorized_token()
    asked = login.seats.with_refresh(record.value)
    if login.options.delayed and asked[0].access is None and now < record.issued_at + DELAYED_AUTH:
        return bad_request("The account is not ready yet")
    login.trade_token = body.get("tradeToken") or login.trade_token
    if login.options.mfa:
        refusal = _ask_for_code(login, asked, body, now)
        if refusal is not None:
            return refusal
    return _renew(login, record, asked, now, create_new=bool(body.get("createNewRefreshToken")))


def repeated(login: FakeLogin) -> Answer:
    """A success with the tokens of `login` that are in force; nothing is renewed."""
    return Answer(200, _succeeded(login, _listed(login, login.seats.all), with_refresh=True), "repeated")


# A refresh token after its end.


def _spent(login: FakeLogin, record: Issued, now: datetime) -> Answer:
    options = login.options
    successors = [seat for seat in login.seats.all if seat.refresh is not None and seat.refresh in record.successors]
    if successors and record.ended_at is not None and now - record.ended_at < options.grace:
        if any(item.refresh in record.successors for item in login.pending):
            return Answer(200, _demanded(login, tuple(successors), renewed=True), "repeated", record.successors)
        listed = _listed(login, tuple(successors))
        return Answer(200, _succeeded(login, listed, with_refresh=True), "repeated", record.successors)
    assert record.end is not None
    revokes = options.revokes_on_reuse
    login.seats.ledger.reuses.append(Reuse(login.id, record.account, login.broker, now, record.end, revokes))
    if revokes and record.value not in login.forgotten:
        pair = next((seat.pair for seat in login.seats.all if seat.account_id == record.account), 0)
        login.seats.end_refresh((seat for seat in login.seats.all if seat.pair == pair), End.REUSE, now)
    return unauthorized_token("reuse")


# Codes.


def _ask_for_code(login: FakeLogin, asked: tuple[Seat, ...], body: Mapping[str, Any], now: datetime) -> Answer | None:
    """The answer of one round of MFA; None once the last code was right."""
    code = body.get("mfaCode")
    pending = next((item for item in login.pending if item.refresh == body["refreshToken"]), None)
    if not code:
        login.pending = [item for item in login.pending if item is not pending]
        return _demand(login, asked, now, 1)
    if pending is None or (pending.access is not None and body.get("accessToken") != pending.access):
        return unauthorized_token("mfaMismatch")
    if code != login.code:
        if login.options.wrong_code is WrongCode.FAILED:
            return Answer(200, success(failed_content("Wrong MFA code")), "wrongCode")
        refusal = bad_request("Wrong MFA code")
        return Answer(refusal.status, refusal.payload, "wrongCode")
    login.pending.remove(pending)
    return _demand(login, asked, now, pending.round + 1) if pending.round < login.options.mfa_rounds else None


def _demand(login: FakeLogin, asked: tuple[Seat, ...], now: datetime, round_: int) -> Answer:
    options, seats = login.options, login.seats
    login.codes_asked += 1
    if options.mfa_token is not MfaToken.ABSENT:
        seats.renew_access(asked, now, end_of(options.access_lifetime, now))
    issued: tuple[str, ...] = ()
    if options.mfa_rotates:
        issued = _rotate(login, asked, asked[0].refresh, now, options.refresh_lifetime)
    first = asked[0]
    assert first.refresh is not None
    login.pending.append(OpenQuestion(first.refresh, first.access, round_))
    return Answer(200, _demanded(login, asked, renewed=bool(issued)), "mfaRequired", issued)


def _demanded(login: FakeLogin, asked: tuple[Seat, ...], *, renewed: bool) -> dict[str, Any]:
    """The reply that asks for a code."""
    options = login.options
    content: dict[str, Any] = {"status": str(AuthStatus.MFA_REQUIRED)}
    top = options.mfa_token is MfaToken.TOP_LEVEL
    if options.mfa_token is not MfaToken.ABSENT or renewed:
        shown = asked[0].access if options.mfa_token is not MfaToken.ABSENT else None
        top = top or options.top_level
        content |= _content(login, _listed(login, asked), with_refresh=renewed, top_level=top, access=shown)
    return success(content)


# Success.


def _renew(login: FakeLogin, record: Issued, asked: tuple[Seat, ...], now: datetime, *, create_new: bool) -> Answer:
    options, seats = login.options, login.seats
    renewed = asked if options.replies_with is Replies.ASKED or options.top_level else seats.all
    seats.renew_access(renewed, now, end_of(options.access_lifetime, now))
    if not options.rotates and not create_new:
        return Answer(200, _succeeded(login, _listed(login, renewed), with_refresh=False), "succeeded")
    lifetime = options.refresh_lifetime
    if create_new and lifetime is None and not options.rotates:
        lifetime = LIFETIME_OF_A_NEW_REFRESH_TOKEN
    issued = _rotate(login, renewed, record.value, now, lifetime)
    return Answer(200, _succeeded(login, _listed(login, renewed), with_refresh=True), "succeeded", issued)


def _rotate(
    login: FakeLogin, seats: Iterable[Seat], spent: str | None, now: datetime, lifetime: timedelta | None
) -> tuple[str, ...]:
    ledger = login.seats.ledger
    ledger.end(spent, End.SPENT, now)
    issued = login.seats.renew_refresh(seats, now, end_of(lifetime, now))
    record = ledger.find(spent, TokenKind.REFRESH)
    if record is not None:
        record.successors = issued
    return issued


def _listed(login: FakeLogin, seats: tuple[Seat, ...]) -> tuple[Seat, ...]:
    """The accounts that the reply lists."""
    alone = login.options.top_level or login.options.replies_with is Replies.ASKED
    return seats[:1] if alone else seats


def _succeeded(login: FakeLogin, seats: tuple[Seat, ...], *, with_refresh: bool) -> dict[str, Any]:
    content: dict[str, Any] = {"status": str(AuthStatus.SUCCEEDED)}
    top_level = login.options.top_level
    return success(
        content | _content(login, seats, with_refresh=with_refresh, top_level=top_level, access=seats[0].access)
    )


def _content(
    login: FakeLogin, seats: tuple[Seat, ...], *, with_refresh: bool, top_level: bool, access: str | None
) -> dict[str, Any]:
    """The tokens and lifetimes of a reply; without access tokens where `access` is None."""
    with_refresh = with_refresh and not login.options.spends_access_token
    content = _lifetimes(login, seats[0], with_refresh=with_refresh, with_access=access is not None)
    named = login.options.names_in_replies and not _is_of_any_account(login, top_level=top_level)
    managed = login.options.token_ids and not top_level
    entries = []
    for seat in seats:
        shown = None if access is None else seat.access
        tokens = (seat.refresh if with_refresh else None, None if managed else shown, shown if managed else None)
        entries.append(entry_of(seat, tokens, named=named))
    if not top_level:
        return {**content, "brokerAccountTokens": entries}
    return {**content, **entries[0], **({"account": account_of(seats[0])} if named else {})}


def _is_of_any_account(login: FakeLogin, *, top_level: bool) -> bool:
    """Whether no account can be told as the one asked for: all have the same strings, and the reply has one entry."""
    options = login.options
    alone = top_level or options.replies_with is Replies.ASKED
    return options.sharing is Sharing.ONE_PAIR and options.accounts > 1 and alone


def _lifetimes(login: FakeLogin, seat: Seat, *, with_refresh: bool, with_access: bool) -> dict[str, int]:
    ledger = login.seats.ledger
    access = ledger.tokens.get(seat.access or "") if with_access else None
    refresh = ledger.find(seat.refresh, TokenKind.REFRESH) if with_refresh else None
    found = {"expiresInSeconds": login.access_ends(access)}
    found["refreshTokenExpiresInSeconds"] = refresh.ends_at if refresh else None
    now = login.clock.now()
    return {
        # What is left: a repetition is of tokens that were issued some time before.
        name: ceil((ends_at - now).total_seconds())
        for name, ends_at in found.items()
        if ends_at is not None
    }
