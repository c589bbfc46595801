"""The table of `mesh_refresh.keeper.rules` is what the rules do: each row is reached, and no transition has none."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import evolve, frozen

from mesh_refresh import Tokens
from mesh_refresh.keeper import rules
from mesh_refresh.keeper.rules.add import with_tokens
from mesh_refresh.keeper.rules.attempt import Attempt, Unreadable
from mesh_refresh.keeper.rules.failure import (
    RETRIED,
    Failed,
    Failure,
    Refused,
    Unknown,
    apply_failure,
    park_expired,
    park_unsendable,
    stamp_open_attempt,
    stamp_taken_back,
    undo_refusals,
)
from mesh_refresh.keeper.rules.mfa import park_with_question, reopen_question
from mesh_refresh.keeper.rules.success import apply_success
from mesh_refresh.keeper.rules.unreadable import keep_unreadable
from mesh_refresh.logins import Account, AccountState, Login, Pending, Reason
from tests.keeper.making import START, at, attempt, beside, brought, context, made, question, success, tokens

NONE, SAME = "none", "same"
WORKING: set[str] = {AccountState.ACTIVE, AccountState.NOT_REFRESHABLE, AccountState.MANAGED}
STATES: dict[str, set[str]] = {
    "any": set(AccountState),
    "working": {*WORKING},
    "parked": {*AccountState} - {*WORKING},
    **{state: {state} for state in (*AccountState, NONE)},
}
NUMBER = 7
"""Of the attempt whose outcome comes."""


@frozen
class Row:
    """One row of the table."""

    states: frozenset[str]
    event: str
    guard: str
    becomes: str


@frozen
class Case:
    """An account, what happens to it, and what became of it."""

    event: str
    before: Account | None
    facts: dict[str, Any]
    after: Account

    @property
    def state(self) -> str:
        return NONE if self.before is None else self.before.state

    def __str__(self) -> str:
        return f"{self.state} | {self.event} | {self.facts} -> {self.after.state}"


def table() -> list[Row]:
    """The rows, in their order."""
    lines = [line for line in (rules.__doc__ or "").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return [
        Row(frozenset().union(*(STATES[name] for name in states.split(", "))), event, guard, becomes)
        for states, event, guard, becomes in cells
    ]


GUARDS: dict[str, Callable[[Case], bool]] = {
    "": lambda _: True,
    "does not count": lambda case: case.facts.get("stale", False),
    "has a credential": lambda case: case.after.tokens.refresh_token is not None,
    "Mesh manages its token": lambda case: case.after.tokens.token_id is not None and not _had_credential(case),
    "an unnamed entry may be its own": lambda case: case.facts["unnamed"],
    "had the spent token": lambda case: case.facts["shares"],
    "is no fault of the account": lambda case: not case.facts["blamed"],
    "had an unknown outcome before": lambda case: _before(case).unknown_since is not None,
    "had a sibling renewed before": lambda case: _before(case).sibling_renewed,
    "was refused before": lambda case: case.facts["refused_before"],
    "answered a question": lambda case: case.facts["code"],
    "allows no second request": lambda case: not case.facts["may_resend"],
    "has succeeded since": lambda case: case.facts["succeeded_since"],
    "has asked since": lambda case: case.facts["asked_since"],
    "access token ended": lambda case: case.facts["ended"],
    "has an access token never seen": lambda case: case.facts["had"] and case.facts["new_access"],
    "had the tokens before": lambda case: case.facts["had"],
    "was parked for another reason": lambda case: case.facts["other"],
    "its live token may be elsewhere": lambda case: case.facts["elsewhere"],
}


def _had_credential(case: Case) -> bool:
    before = case.before
    return before is not None and (before.state == AccountState.ACTIVE or before.tokens.refresh_token is not None)


def _before(case: Case) -> Account:
    assert case.before is not None
    return case.before


# Logins. The account that is looked at is the first one, "A".


def stored(state: AccountState, **fields: Any) -> Account:
    """Account "A" in that state, which came by an attempt before."""
    has_none = state in (AccountState.NOT_REFRESHABLE, AccountState.MANAGED)
    given = fields.pop("tokens", tokens(None if has_none else "r-0", "a-0", "A"))
    pending = Pending("question-1", "the continuation", START) if state is AccountState.MFA_REQUIRED else None
    reason = {AccountState.RECONNECT_REQUIRED: Reason.REFUSED, AccountState.UNREADABLE: Reason.UNREADABLE}.get(state)
    base = made(given).accounts[0]
    account = evolve(base, state=state, pending=pending, reason=reason, produced_by=3, settled_by=3, failed_by=3)
    return evolve(account, **fields)


def login_of(*accounts: Account) -> Login:
    return evolve(made(), accounts=accounts, epoch="row", attempt=NUMBER)


def sent(login: Login, index: int = 0, *, code: bool = False) -> Attempt:
    """The attempt of the outcome; one that answers a question, where it sent a `code`."""
    return attempt(login, NUMBER, index, code_for="question-1" if code else None)


def _newer(login: Login, **fields: Any) -> Login:
    """A newer attempt has brought other tokens to each account since."""
    newer = {"produced_by": NUMBER + 1, "settled_by": NUMBER + 1, "failed_by": NUMBER + 1, **fields}
    accounts = [
        evolve(account, tokens=evolve(account.tokens, refresh_token=f"r-new-{index}"), **newer)
        for index, account in enumerate(login.accounts)
    ]
    return evolve(login, accounts=tuple(accounts))


STALE: list[Callable[[Login], Login]] = [
    lambda login: evolve(login, epoch="removed, and added anew"),
    lambda login: _newer(login, epoch="logged in anew"),
    _newer,
]


def ways(login: Login) -> Iterator[tuple[Login, bool]]:
    """The login as it is when the outcome is written: as it was sent, and where the outcome is stale."""
    yield login, False
    for spoil in STALE:
        yield spoil(login), True


def case(event: str, login: Login, after: Login, index: int = 0, **facts: Any) -> Case:
    return Case(event, login.accounts[index], facts, after.accounts[index])


# Events: each in every variation that a guard asks for.

Cases = Iterator[Case]


def refreshable() -> Iterator[Account]:
    """An account in each state that has something to exchange, though its state may be of another strategy."""
    for state in AccountState:
        yield stored(state, tokens=tokens("r-0", "a-0", "A"))


def its_tokens(event: str) -> Cases:
    for account in refreshable():
        flying = sent(login_of(account))
        for login, stale in ways(login_of(account)):
            for refresh in ("r-1", "r-0"):
                fresh = success(brought(tokens(refresh, "a-1", "A")))
                yield case(event, login, apply_success(login, flying, fresh, context(9)).login, stale=stale)
    for state, given in itertools.product(AccountState, (tokens(None, "a-1", "A"), BY_ID)):
        login = login_of(stored(state, tokens=tokens(None, "a-0", "A")), stored(AccountState.ACTIVE, tokens=OTHER))
        both = success(brought(tokens("r-b1", "b-1", "B")), beside(given, own=False))
        yield case(event, login, apply_success(login, sent(login, 1), both, context(9)).login)
    for shown, token_id in itertools.product(("r-z", None), ("id-z", None)):
        login = login_of(stored(AccountState.ACTIVE))
        joined = success(brought(tokens("r-1", "a-1", "A")), beside(tokens(shown, "a-z", "Z", token_id=token_id)))
        after = apply_success(login, sent(login), joined, context(9)).login
        yield Case(event, None, {}, after.accounts[1])


OTHER = tokens("r-b", "b-0", "B")
BY_ID = tokens(None, None, "A", token_id="id-1")


def siblings_tokens(event: str) -> Cases:
    """ "B" was asked for, and "A" is left out."""
    for account, shares, unnamed in itertools.product(refreshable(), (True, False), (True, False)):
        asked = stored(AccountState.ACTIVE, epoch="B", tokens=evolve(OTHER, refresh_token="r-0") if shares else OTHER)
        flying = sent(login_of(account, asked), 1)
        entries = [brought(tokens("r-b1", "b-1", "B"))]
        entries += [beside(tokens(f"r-{name}", f"a-{name}")) for name in ("x", "y") if unnamed]
        for login, stale in ways(login_of(account, asked)):
            after = apply_success(login, flying, success(*entries), context(9)).login
            yield case(event, login, after, stale=stale, shares=shares, unnamed=unnamed)


def its_question(event: str) -> Cases:
    for account in refreshable():
        flying = sent(login_of(account))
        for login, stale in ways(login_of(account)):
            for refresh in ("r-1", "r-0"):
                after = park_with_question(login, flying, question("question-2", refresh), context(9)).login
                yield case(event, login, after, stale=stale)


def siblings_question(event: str) -> Cases:
    for account, shares in itertools.product(refreshable(), (True, False)):
        asked = stored(AccountState.ACTIVE, epoch="B", tokens=evolve(OTHER, refresh_token="r-0") if shares else OTHER)
        login = login_of(account, asked)
        after = park_with_question(login, sent(login, 1), question("question-2", "r-1"), context(9)).login
        yield case(event, login, after, shares=shares)


def wrong_code(event: str) -> Cases:
    for account in refreshable():
        login = login_of(account)
        yield case(event, login, reopen_question(login, sent(login, code=True)))


PASTS: list[tuple[dict[str, Any], bool]] = [
    ({}, False),
    ({"unknown_since": START}, False),
    ({"sibling_renewed": True}, False),
    ({"refused_at": START}, True),
    ({"unknown_since": START, "sibling_renewed": True, "refused_at": START}, True),
]


def refused(event: str) -> Cases:
    for account, (past, before), blamed in itertools.product(refreshable(), PASTS, (True, False)):
        forgiven = {"blamed": blamed, "refused_before": before}
        yield from failures(event, evolve(account, **past), Refused("Sorry.", blamed), **forgiven)
        excused = Refused("Sorry.", blamed, forgiven_until=at(1))
        yield from failures(event, evolve(account, **past), excused, **{**forgiven, "refused_before": False})


def unknown(event: str) -> Cases:
    for account, may, code in itertools.product(refreshable(), (True, False), (True, False)):
        failure = Unknown("ServerFailure", may_resend=may)
        yield from failures(event, account, failure, may_resend=may, code=code and account.pending is not None)


def failed(event: str) -> Cases:
    for account, blamed in itertools.product(refreshable(), (True, False)):
        yield from failures(event, account, Failed("Locked", blamed=blamed))


def failures(event: str, account: Account, failure: Failure, **facts: Any) -> Cases:
    flying = sent(login_of(account), code=facts.get("code", False))
    for login, stale in ways(login_of(account)):
        yield case(event, login, apply_failure(login, flying, failure, context(9)).login, stale=stale, **facts)


def unreadable(event: str) -> Cases:
    for account in refreshable():
        flying = sent(login_of(account))
        for login, stale in ways(login_of(account)):
            yield case(event, login, keep_unreadable(login, flying, Unreadable(b"?"), context(9)).login, stale=stale)


def late_bytes(event: str) -> Cases:
    late = Unreadable(b"?", late=True)
    for account, since in itertools.product(refreshable(), (-1, 0, 1)):
        login = login_of(evolve(account, settled_by=NUMBER + since))
        flying = sent(login)
        facts = {"succeeded_since": since > 0 and not account.parked, "asked_since": since >= 0}
        yield case(event, login, keep_unreadable(login, flying, late, context(9)).login, **facts)
        newer = _newer(login)
        facts = {"succeeded_since": True, "asked_since": True}
        yield case(event, newer, keep_unreadable(newer, flying, late, context(9)).login, **facts)
        for stale in (STALE[0](login), STALE[1](login), login_of(evolve(account, body=b"whole?"))):
            yield case(event, stale, keep_unreadable(stale, flying, late, context(9)).login, stale=True)


def lease_ran_out(event: str) -> Cases:
    for account, may in itertools.product(refreshable(), (True, False)):
        found = login_of(account)
        for login, stale in ((found, False), (_newer(found), True), (_newer(found, epoch="anew"), True)):
            allowed = {it.epoch: may for it in login.accounts}
            after = stamp_open_attempt(login, found, context(9), allowed).login
            yield case(event, login, after, stale=stale, may_resend=may)


def taken_back(event: str) -> Cases:
    for account, may in itertools.product(refreshable(), (True, False)):
        login = login_of(account)
        after = stamp_taken_back(login, context(9), {account.epoch: may})
        yield case(event, login, after, may_resend=may)


def unsendable(event: str) -> Cases:
    for account, since in itertools.product(refreshable(), (START, None)):
        login = login_of(evolve(account, unknown_since=since))
        yield case(event, login, park_unsendable(login, login.accounts[0], context(9)).login)


def time_passed(event: str) -> Cases:
    for account, refresh, seconds in itertools.product(refreshable(), ("r-0", None), (9, 9999)):
        login = login_of(evolve(account, tokens=tokens(refresh, "a-0", "A")))
        yield case(event, login, park_expired(login, context(seconds)).login, ended=seconds > 3600)


def add(event: str) -> Cases:
    fresh: list[tuple[Tokens, bool, bool]] = [
        (tokens("r-0", "a-0", "A"), True, False),
        (tokens("r-0", "a-1", "A"), True, True),
        (tokens("r-1", "a-1", "A"), False, True),
        (tokens(None, "a-1", "A"), False, True),
        (BY_ID, False, True),
    ]
    for account, (given, had, new_access) in itertools.product(refreshable(), fresh):
        login = login_of(account)
        yield case(event, login, with_tokens(login, (given,), context(9))[0], had=had, new_access=new_access)
    for state, (given, *_) in itertools.product(AccountState, fresh[3:]):
        login = login_of(stored(state, tokens=tokens(None, "a-0", "A")))
        yield case(event, login, with_tokens(login, (given,), context(9))[0], had=False, new_access=True)
    for refresh, token_id in itertools.product(("r-z", None), ("id-z", None)):
        login = login_of(stored(AccountState.ACTIVE))
        after = with_tokens(login, (tokens(refresh, "a-z", "Z", token_id=token_id),), context(9))[0]
        yield Case(event, None, {"had": False, "new_access": True}, after.accounts[1])


def retried(event: str) -> Cases:
    """After a broker's false refusals. "B" works, or is parked too."""
    marks: list[dict[str, Any]] = [{}, {"body": b"?"}, {"sibling_renewed": True}, {"unknown_since": START}]
    for account, reason, fields, works in itertools.product(refreshable(), Reason, marks, (True, False)):
        other = account.state is not AccountState.RECONNECT_REQUIRED or reason not in RETRIED
        sibling = stored(AccountState.ACTIVE if works else AccountState.UNREADABLE, epoch="B", tokens=OTHER)
        found = evolve(account, reason=account.reason and reason, **fields)
        facts = {"other": other, "elsewhere": works if "unknown_since" in fields else bool(fields)}
        login = login_of(found, sibling)
        yield case(event, login, undo_refusals(login, reason, at(9)).login, **facts)
        wanted = Reason.REFUSED if reason is not Reason.REFUSED else Reason.REFUSED_AFTER_UNKNOWN
        yield case(event, login, undo_refusals(login, wanted, at(9)).login, **{**facts, "other": True})


EVENTS: dict[str, Callable[[str], Cases]] = {
    "tokens": its_tokens,
    "sibling's tokens": siblings_tokens,
    "question": its_question,
    "sibling's question": siblings_question,
    "wrong code": wrong_code,
    "refused": refused,
    "unknown": unknown,
    "failed": failed,
    "unreadable": unreadable,
    "late bytes": late_bytes,
    "lease ran out": lease_ran_out,
    "taken back": taken_back,
    "unsendable": unsendable,
    "time passed": time_passed,
    "retried": retried,
    "add": add,
}


def test_every_event_is_in_the_table() -> None:
    """And none that this file does not drive; no two rows are the same."""
    rows = table()
    assert {row.event for row in rows} == set(EVENTS)
    assert {row.guard for row in rows} == set(GUARDS)
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize("event", EVENTS)
def test_the_table_is_what_the_rules_do(event: str) -> None:
    """Every account and outcome goes by one row: the first that holds. And every row is one of some account."""
    rows = [row for row in table() if row.event == event]
    reached: dict[Row, int] = dict.fromkeys(rows, 0)
    for found in EVENTS[event](event):
        row = next((row for row in rows if found.state in row.states and GUARDS[row.guard](found)), None)
        assert row is not None, f"no row: {found}"
        becomes = found.state if row.becomes == SAME else row.becomes
        assert found.after.state == becomes, f"{found}, and the table has {row}"
        reached[row] += 1
    assert all(reached.values()), [row for row, number in reached.items() if not number]
