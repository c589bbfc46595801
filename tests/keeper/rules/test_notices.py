"""Which notices a write makes."""

import re
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper.notices import Notice, NoticeKind, open_notice, seal_notice
from mesh_refresh.keeper.rules.notices import with_notices
from mesh_refresh.logins import AccountState, Login, Moving, Pending, Reason, Way
from mesh_refresh.stores import Cipher, StoreDamaged, WrongKey
from tests.examples import bounded
from tests.keeper.making import at, changed, made, tokens

ACTIVE, MFA = AccountState.ACTIVE, AccountState.MFA_REQUIRED
RECONNECT, UNREADABLE = AccountState.RECONNECT_REQUIRED, AccountState.UNREADABLE
ENDS = at(90_000)
WORKING: dict[str, Any] = {"state": ACTIVE, "reason": None, "pending": None, "renewal_stuck": False}
"""An account with nothing to tell of."""
AS: dict[str, dict[str, Any]] = {
    "active": WORKING,
    "not_refreshable": {**WORKING, "state": AccountState.NOT_REFRESHABLE},
    "managed": {**WORKING, "state": AccountState.MANAGED},
    "ends": {**WORKING, "renewal_stuck": True},
    "asks": {**WORKING, "state": MFA, "pending": Pending("q-1", "{}", at())},
    "answered": {**WORKING, "state": MFA, "pending": Pending("q-1", "{}", at(), answered=True)},
    "asks again": {**WORKING, "state": MFA, "pending": Pending("q-2", "{}", at())},
    "refused": {**WORKING, "state": RECONNECT, "reason": Reason.REFUSED},
    "retried": {**WORKING, "reason": Reason.REFUSED},
    "unknown": {**WORKING, "state": RECONNECT, "reason": Reason.UNKNOWN},
    "unreadable": {**WORKING, "state": UNREADABLE, "reason": Reason.UNREADABLE},
}


def begun() -> Login:
    return made(tokens(refresh_token_expires_at=ENDS))


def written(login: Login, how: str, index: int = 0, **options: Any) -> tuple[Login, tuple[Notice, ...]]:
    """The account comes to be so, and what that tells. A rule makes a new account, which knows nothing of notices."""
    after, notices = with_notices(login, changed(login, index, announced="", **AS[how]), at(60), **options)
    return evolve(after, revision=login.revision + 1), notices


def kinds(login: Login, *ways: str, **options: Any) -> list[str]:
    """What is told on this way."""
    told: list[str] = []
    for how in ways:
        login, notices = written(login, how, **options)
        told += [notice.kind for notice in notices]
    return told


@pytest.mark.parametrize(
    ("ways", "told"),
    [
        (["active", "not_refreshable", "active"], []),
        (["refused", "refused", "active", "active"], ["reconnect_required", "recovered"]),
        (["not_refreshable", "refused"], ["reconnect_required"]),
        (["refused", "retried", "retried", "active"], ["reconnect_required", "recovered"]),
        (["refused", "retried", "refused"], ["reconnect_required"]),
        (["refused", "retried", "asks", "active"], ["reconnect_required", "mfa_needed", "mfa_done"]),
        (["unknown", "refused"], ["reconnect_required", "reconnect_required"]),
        (["asks", "answered", "asks", "active"], ["mfa_needed", "mfa_done"]),
        (["asks", "asks again", "not_refreshable"], ["mfa_needed", "mfa_needed", "mfa_done"]),
        (["asks", "refused", "active"], ["mfa_needed", "reconnect_required", "recovered"]),
        (["refused", "asks", "active"], ["reconnect_required", "mfa_needed", "mfa_done"]),
        (["unreadable", "unreadable", "active"], ["unreadable", "recovered"]),
        (["asks", "unreadable", "refused"], ["mfa_needed", "unreadable", "reconnect_required"]),
        (["ends", "ends", "active"], ["reconnect_soon", "recovered"]),
        (["ends", "refused", "active"], ["reconnect_soon", "reconnect_required", "recovered"]),
        (["ends", "refused", "ends"], ["reconnect_soon", "reconnect_required", "recovered", "reconnect_soon"]),
    ],
)
def test_what_is_told(ways: list[str], told: list[str]) -> None:
    """Each thing once, and its end."""
    assert kinds(begun(), *ways) == told


@pytest.mark.parametrize("how", ["refused", "unreadable", "asks", "ends"])
def test_tokens_that_are_added_end_it(how: str) -> None:
    """The person has logged in anew."""
    login, _ = written(begun(), how)
    assert kinds(login, "active", by_add=True) == ["recovered"]


def test_an_add_is_no_news_where_nothing_was_told() -> None:
    """Of an account that works, of a new account, of a new login."""
    login = begun()
    assert kinds(login, "active", by_add=True) == []
    more = evolve(login, accounts=(*login.accounts, *made(tokens(account="b")).accounts))
    assert with_notices(login, more, at(), by_add=True) == (more, ())
    assert with_notices(None, login, at(), by_add=True) == (login, ())


def test_an_account_that_joins_is_told() -> None:
    """With what is to be told of it beside that."""
    login = begun()
    joined = evolve(made(tokens(account="b")).accounts[0], **AS["asks"])
    after, notices = with_notices(login, evolve(login, accounts=(*login.accounts, joined)), at())
    assert [(it.kind, it.account_id) for it in notices] == [("account_joined", "b"), ("mfa_needed", "b")]
    assert [account.announced for account in after.accounts] == ["", "mfa_needed"]


def test_what_a_notice_says() -> None:
    """What the application needs, and no more than its kind has."""
    login = evolve(begun(), revision=4)
    parked = changed(login, display_message="Log in, please.", **AS["refused"])
    after, (notice,) = with_notices(login, parked, at(60))
    assert (notice.reason, notice.display_message, notice.pending_id) == (Reason.REFUSED, "Log in, please.", None)
    assert (notice.login_id, notice.account_id, notice.broker, notice.at) == ("user-7", None, "coinbase", at(60))
    assert re.fullmatch("[A-Za-z0-9_-]+", notice.id)
    _, (asked,) = with_notices(login, changed(login, display_message="Type it.", **AS["asks"]), at(60))
    assert (asked.reason, asked.display_message, asked.pending_id) == (None, "Type it.", "q-1")
    _, (over,) = with_notices(after, changed(after, display_message="Still here.", **AS["active"]), at(70))
    assert (over.kind, over.reason, over.display_message) == (NoticeKind.RECOVERED, None, None)
    _, (soon,) = with_notices(login, changed(login, **AS["ends"]), at(60))
    assert soon.ends_at == ENDS


def test_each_notice_of_a_login_has_a_greater_number() -> None:
    """It begins with the time in milliseconds, so that a login that was removed and added anew goes on."""
    first, (one,) = written(begun(), "refused")
    second, (two,) = written(first, "active")
    assert (one.sequence, two.sequence) == (at(60).timestamp() * 1000, one.sequence + 1)
    assert second.notice_sequence == two.sequence
    ends_too = changed(second, **AS["ends"])
    assert with_notices(second, ends_too, at(60) + timedelta(days=9))[0].notice_sequence == two.sequence + 1


@pytest.mark.parametrize("way", Way)
def test_nothing_is_told_of_a_login_that_moves(way: Way) -> None:
    """Once it is at home, the next write tells what has come meanwhile."""
    login, _ = written(begun(), "refused")
    away, notices = written(evolve(login, moving=Moving(way)), "active")
    assert not notices
    assert away.accounts[0].announced == "reconnect_required"
    assert kinds(evolve(away, moving=None), "active") == ["recovered"]


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, str, int]]:
    """The account, how it comes to be, and how often its write is repeated."""
    one = st.tuples(st.integers(0, 1), st.sampled_from(sorted(AS.keys() - {"retried"})), st.integers(0, 2))
    return draw(st.lists(one, max_size=12))


@given(histories())
@bounded(100)
def test_each_notice_is_told_once_and_none_is_invented(history: list[tuple[int, str, int]]) -> None:
    """Whatever comes, a write that is repeated adds nothing, and an account's last notice says how it is."""
    login = made(tokens(account="a", refresh_token_expires_at=ENDS), tokens("r-1", account="b"))
    outbox: dict[str, Notice] = {}
    for index, how, repeats in history:
        state = AS[how] if index == 0 or how != "ends" else WORKING
        # A write whose acknowledgement was lost is made again from the same login: the store has its notices already.
        tries = [
            with_notices(login, changed(login, index, announced="", **state), at(len(outbox)))
            for _ in range(repeats + 1)
        ]
        for _, notices in tries:
            outbox.update({notice.id: notice for notice in notices})
        assert len({notice.id for _, notices in tries for notice in notices}) == len(tries[0][1])
        after = evolve(tries[0][0], revision=login.revision + 1)
        assert with_notices(after, after, at()) == (after, ())
        login = after
    told = list(outbox.values())
    assert [notice.sequence for notice in told] == sorted({notice.sequence for notice in told})
    for account in login.accounts:
        mine = [str(notice.kind) for notice in told if notice.account_id == account.tokens.account_id]
        assert (mine or ["recovered"])[-1] in _SAYS[account.state, account.renewal_stuck]
        assert mine[:1] not in (["recovered"], ["mfa_done"])


_OVER = {"recovered", "mfa_done"}
_SAYS: dict[tuple[AccountState, bool], set[str]] = {
    (ACTIVE, False): _OVER,
    (AccountState.NOT_REFRESHABLE, False): _OVER,
    (AccountState.MANAGED, False): _OVER,
    (ACTIVE, True): {"reconnect_soon"},
    (MFA, False): {"mfa_needed"},
    (RECONNECT, False): {"reconnect_required"},
    (UNREADABLE, False): {"unreadable"},
}


def test_a_notice_is_sealed_to_its_id_and_its_login() -> None:
    """A writer of the database cannot move it, and it comes back whole."""
    cipher = Cipher([Cipher.generate_key()])
    _, (notice,) = with_notices(begun(), changed(begun(), display_message="Secret?", **AS["ends"]), at(60))
    for told in (notice, evolve(notice, reason=Reason.REFUSED, pending_id="q", account_id="a", display_message="m")):
        row = seal_notice(cipher, told)
        assert open_notice(cipher, row) == told
        assert b"coinbase" not in row.sealed
        for moved in (evolve(row, login_id="other"), evolve(row, id="other")):
            with pytest.raises(WrongKey):
                open_notice(cipher, moved)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "mesh_refresh.notice", "version": 2}'])
def test_a_damaged_notice_is_told(text: str) -> None:
    """As damage, and not as a wrong argument."""
    _, (notice,) = with_notices(begun(), changed(begun(), **AS["ends"]), at(60))
    row = seal_notice(Cipher([key := Cipher.generate_key()]), notice)
    context = f"notice:{len(row.id)}:{row.id}:{row.login_id}"
    damaged = evolve(row, sealed=Cipher([key]).seal(text, context))
    with pytest.raises(StoreDamaged) as found:
        open_notice(Cipher([key]), damaged)
    assert not isinstance(found.value, InvalidRequest)
