"""A login as text: all of it comes back, only what differs is written, and damage is told without showing anything."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve, fields
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import InvalidRequest, Tokens
from mesh_refresh.logins import (
    Account,
    AccountState,
    AmbiguousAccount,
    Login,
    Pending,
    Reason,
    UnknownAccount,
    login_from_text,
    login_to_text,
)
from mesh_refresh.stores import PlainText, row_of
from tests.examples import bounded
from tests.leaks.witness import Witness, planted
from tests.tokens_strategies import TOKENS, UNICODE

pytestmark = pytest.mark.once

START = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(min_value=datetime(2, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis adds the zone
SOON = st.none() | MOMENTS
PENDING = st.builds(Pending, UNICODE, UNICODE, MOMENTS, st.booleans(), st.none() | UNICODE)
OF_KINDS: dict[Any, Any] = {
    datetime | None: SOON,
    int: st.integers(0, 2**53),
    bool: st.booleans(),
    str: UNICODE,
    str | None: st.none() | UNICODE,
    Reason | None: st.none() | st.sampled_from(Reason),
    AccountState: st.sampled_from(AccountState),
    Tokens: TOKENS,
    Pending | None: st.none() | PENDING,
    bytes | None: st.none() | st.binary(max_size=40),
    tuple[str, ...]: st.lists(UNICODE, max_size=4).map(tuple),
}
ACCOUNTS = st.builds(Account, **{it.name: OF_KINDS[it.type] for it in fields(Account)})
LOGINS = st.builds(
    Login,
    UNICODE,
    UNICODE,
    st.lists(ACCOUNTS, max_size=3).map(tuple),
    round_at=SOON,
    succeeded_at=SOON,
    changed_at=SOON,
    epoch=UNICODE,
    notice_sequence=st.integers(0, 2**53),
)


def back(login: Login, text: str) -> Login:
    return login_from_text(
        text, login_id=login.login_id, broker=login.broker, changed_at=login.changed_at, epoch=login.epoch
    )


@given(LOGINS)
@bounded(200)
def test_there_and_back(login: Login) -> None:
    """Every field of every account."""
    assert back(login, login_to_text(login)) == login


def test_a_healthy_account_is_short() -> None:
    """There are millions of them."""
    text = login_to_text(Login("user-7", "coinbase", (Account(Tokens("coinbase", "r")),)))
    assert len(text) < 150


SECRET = planted("kept")
FULL = Login(
    "user-7",
    "coinbase",
    (
        Account(
            Tokens("coinbase", SECRET, access_token=SECRET, metadata={"a": SECRET}),
            due_at=START,
            failures=3,
            reason=Reason.REFUSED,
            pending=Pending("question-1", SECRET, START),
            body=SECRET.encode(),
            known=f"!{SECRET}",
        ),
    ),
    round_at=START,
)
WRONG: list[Any] = [None, 7, -1.5, [], {}, "?", [SECRET], {"a": SECRET}, SECRET]


@pytest.mark.parametrize("name", ["of the login", "of an account", "of its tokens", "of its question"])
def test_damage(name: str) -> None:
    """Any part of another type: it is read all the same, or refused with a word and nothing of what it holds."""
    witness = Witness()
    whole = json.loads(login_to_text(FULL))
    account = whole[1][0]
    tokens = account[0]
    question = next(part for part in account if isinstance(part, list) and part is not tokens)
    place = {"of the login": whole, "of an account": account, "of its tokens": tokens, "of its question": question}[
        name
    ]
    for part, kept in enumerate([*place]):
        for wrong in WRONG:
            place[part] = wrong
            try:
                login_to_text(back(FULL, json.dumps(whole)))
            except InvalidRequest as error:
                witness.look_at(error)
        del place[part]
        try:
            back(FULL, json.dumps(whole))
        except InvalidRequest as error:
            witness.look_at(error)
        place.insert(part, kept)
    assert witness.found == []


@given(TOKENS)
@bounded(50)
def test_tokens_are_read_as_from_a_document_of_their_own(tokens: Tokens) -> None:
    """Not checked again, they are the same as by the way that checks everything."""
    text = login_to_text(Login("user-7", "coinbase", (Account(tokens),)))
    kept = back(Login("user-7", "coinbase", ()), text).accounts[0].tokens
    assert kept == Tokens.from_json(tokens.to_json())


def test_a_body_is_compressed() -> None:
    """It may be of 16 MiB, and a row is written whole each time."""
    body = b'{"accessToken":"' + b"fake" * 100_000 + b'"}'
    login = evolve(FULL, accounts=(evolve(FULL.accounts[0], body=body),))
    text = login_to_text(login)
    assert len(text) < len(body) / 50
    assert back(login, text).accounts[0].body == body


def test_other_documents() -> None:
    """Text that is none, is cut short, or is of a newer version."""
    text = login_to_text(FULL)
    newer = json.dumps([2, *json.loads(text)[1:]])
    for wrong in ("", "[]", "7", text[:-3], "{}", newer, Tokens("coinbase", "r").to_json()):
        with pytest.raises(InvalidRequest):
            back(FULL, wrong)


def test_nothing_is_shown() -> None:
    """A login, an account and a question mask themselves, and so does the row."""
    witness = Witness()
    account = FULL.accounts[0]
    for value in (FULL, account, account.pending, row_of(PlainText(), FULL, START)):
        witness.look_at(value)
    assert witness.found == []


def test_an_account_is_found_by_its_name() -> None:
    """By the broker's id before Mesh's; without a name only where there is one account."""
    one, two = (Account(Tokens("b", "r", account_id=a, mesh_account_id=m)) for a, m in (("A", "B"), ("B", "M")))
    login = Login("user-7", "b", (one, two))
    assert login.account("B") is two
    assert login.account("M") is two
    assert evolve(login, accounts=(one,)).account() is one
    with pytest.raises(AmbiguousAccount):
        login.account()
    with pytest.raises(UnknownAccount):
        login.account("C")


@pytest.mark.parametrize("state", AccountState)
def test_the_most_urgent_state(state: AccountState) -> None:
    """One account that needs somebody makes the login one that does."""
    accounts = tuple(Account(Tokens("b", "r"), it) for it in (AccountState.MANAGED, state))
    assert Login("user-7", "b", accounts).state is state
