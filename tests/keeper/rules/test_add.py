"""Adding: a new login of the person replaces; tokens that were here before are no news."""

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import InvalidRequest, Tokens
from mesh_refresh.keeper.arguments import check_login
from mesh_refresh.keeper.rules.add import Added, Terms, new_login, with_tokens
from mesh_refresh.keeper.rules.failure import Refused, apply_failure
from mesh_refresh.keeper.rules.success import apply_success
from mesh_refresh.logins import AccountState, Login, Pending, Reason, fingerprints
from mesh_refresh.replies.lineage import refresh_token_of
from tests.examples import bounded
from tests.keeper.making import HOUR, START, at, attempt, beside, brought, changed, context, success, tokens
from tests.keeper.making import made as login_of

PARKED: dict[str, Any] = {
    "state": AccountState.RECONNECT_REQUIRED,
    "reason": Reason.REFUSED,
    "due_at": None,
    "parked_at": START,
}


def rotated(login: Login, times: int) -> Login:
    """After so many exchanges of its first account: r-1, r-2 and so on, with a-1, a-2."""
    for number in range(1, times + 1):
        fresh = evolve(login.accounts[0].tokens, refresh_token=f"r-{number}", access_token=f"a-{number}")
        login = apply_success(login, attempt(login, number), success(brought(fresh)), context(number)).login
    return login


def add(login: Login, *given: Tokens, seconds: float = 100) -> tuple[Login, Added]:
    check_login(login.login_id, given, str(login.broker))
    return with_tokens(login, given, context(seconds))


def unchanged(login: Login, *given: Tokens) -> None:
    after, done = add(login, *given)
    assert not done.changed
    assert len(done.unchanged) == len(given)
    assert after == login


def test_a_login_that_was_not_known() -> None:
    """Each account has an epoch of its own, and is due by its tokens."""
    login, done = new_login("user-7", "row", (tokens(account="A"), tokens("r-1", account="B")), context())
    assert done == Added("user-7", new=("A", "B"))
    assert login.epoch == "row"
    assert len({account.epoch for account in login.accounts} | {"", "row"}) == 4
    assert {account.state for account in login.accounts} == {AccountState.ACTIVE}


def test_without_a_refresh_token() -> None:
    """It is kept until it ends, and never exchanged."""
    account = login_of(tokens(None)).accounts[0]
    assert (account.state, account.due_at) == (AccountState.NOT_REFRESHABLE, at(3600))


def test_a_new_login_of_the_person_fences_off_what_is_in_flight() -> None:
    """Neither a success nor a refusal of the old tokens counts for the new ones."""
    login = changed(login_of(), failures=3, retry_not_before=at(900), unknown_since=START, resend_not_before=at(900))
    flying = attempt(login, 1)
    after, done = add(login, tokens("r-new", "a-new"))
    assert done.replaced == (None,)
    account = after.accounts[0]
    assert account.epoch != login.accounts[0].epoch
    assert (account.failures, account.retry_not_before, account.resend_not_before, account.unknown_since) == (
        0,
        None,
        None,
        None,
    )
    for outcome in (
        apply_success(after, flying, success(brought(tokens("r-1", "a-1"))), context(200)),
        apply_failure(after, flying, Refused(), context(200)),
    ):
        assert outcome.login.accounts[0].tokens.refresh_token == "r-new"
        assert outcome.login.accounts[0].state is AccountState.ACTIVE
        assert outcome.events == ()


def test_it_keeps_what_the_person_did_not_bring() -> None:
    """Ids, `ref`, metadata and the trade token are of the account; a lifetime is of the token."""
    old = tokens(account="A", trade_token="t", metadata={"a": "b"}, ref=7, refresh_token_expires_at=at(9999))
    fresh = tokens("r-new", None, "A", mesh_account_id="M")
    account = add(login_of(old), fresh)[0].accounts[0]
    assert (account.tokens.account_id, account.tokens.mesh_account_id) == ("A", "M")
    assert (account.tokens.trade_token, account.tokens.metadata, account.tokens.ref) == ("t", {"a": "b"}, 7)
    assert (account.tokens.access_token, account.tokens.expires_at) == (None, None)
    assert account.tokens.refresh_token_expires_at is None


def test_it_replaces_only_the_accounts_that_it_names() -> None:
    """Others of the login stay as they are, and one not known joins."""
    login = login_of(tokens(account="A"), tokens("r-1", account="B"))
    after, done = add(login, tokens("r-2", account="B"), tokens("r-3", account="C"))
    assert (done.replaced, done.new) == (("B",), ("C",))
    assert after.accounts[0] == login.accounts[0]
    assert [it.tokens.refresh_token for it in after.accounts] == ["r-0", "r-2", "r-3"]


@pytest.mark.parametrize("times", range(6))
def test_a_start_up_that_adds_what_it_once_stored(times: int) -> None:
    """What was added is no news, however often it has been refreshed since, nor is anything in between."""
    login = rotated(login_of(), times)
    for number in range(times + 1):
        unchanged(login, tokens(f"r-{number}", f"a-{number}"))
        unchanged(login, tokens(f"r-{number}", None))


def test_what_was_added_is_known_for_ever() -> None:
    """Rotated tokens are forgotten after a thousand marks, added ones stay; and the memory does not grow for ever."""
    login, _ = add(login_of(), tokens("r-second", "a-second"))
    login = rotated(login, 600)
    known = login.accounts[0].known
    assert fingerprints.count(known) == fingerprints.MOST
    assert len(known) <= 12_000
    for name in ("0", "second", "600", "599", "110"):
        unchanged(login, tokens(f"r-{name}", f"a-{name}"))
    assert not fingerprints.was_seen(known, fingerprints.fingerprint("r-50"))


def test_adding_for_ever_keeps_the_last_thousand_marks() -> None:
    """Each login of the person adds marks; the latest are kept, those of rotated tokens go first."""
    known = fingerprints.remember_rotated("", tokens("r-old", "a-old"), tokens("r-new", "a-new"), refresh_token_of)
    for number in range(fingerprints.MOST):
        known = fingerprints.remember_added(known, tokens(f"r-{number}", None), refresh_token_of)
    assert fingerprints.count(known) == fingerprints.MOST
    assert not fingerprints.was_rotated(known, fingerprints.fingerprint("r-old"))
    assert fingerprints.was_seen(known, fingerprints.fingerprint("r-0"))
    known = fingerprints.remember_added(known, tokens("r-more", None), refresh_token_of)
    assert fingerprints.count(known) == fingerprints.MOST
    assert not fingerprints.was_seen(known, fingerprints.fingerprint("r-0"))
    assert fingerprints.was_seen(known, fingerprints.fingerprint("r-1"))


def test_no_news_while_an_exchange_is_under_way() -> None:
    """The token of an open attempt is still the stored one: it stays, and the outcome counts."""
    login = login_of()
    flying = attempt(login, 1)
    unchanged(login, tokens())
    after = apply_success(add(login, tokens())[0], flying, success(brought(tokens("r-1", "a-1"))), context(5)).login
    assert after.accounts[0].tokens.refresh_token == "r-1"


@pytest.mark.parametrize("state", [it for it in AccountState if it not in ("active", "not_refreshable", "managed")])
def test_waking_a_parked_account(state: AccountState) -> None:
    """Only an access token that was never seen for it does: a repeated delivery does not."""
    pending = Pending("question-1", "a document", START)
    login = changed(login_of(), **{**PARKED, "state": state, "pending": pending, "body": b"?"})
    unchanged(login, tokens())
    unchanged(login, tokens(access=None))
    after, done = add(login, tokens(access="a-new"))
    assert done.woken == (None,)
    account = after.accounts[0]
    assert (account.state, account.tokens.access_token) == (AccountState.ACTIVE, "a-new")
    assert (account.reason, account.pending, account.body) == (None, None, b"?"), "its refresh token may be spent"
    assert account.epoch == login.accounts[0].epoch, "its refresh token stays, and may be in flight"
    _, done = add(changed(after, **PARKED), tokens(access="a-new"))
    assert not done.changed


@pytest.mark.parametrize("times", [1, 5, 30])
def test_a_payload_of_long_ago_wakes_without_its_spent_token(times: int) -> None:
    """However many rotations ago that was spent, more than are remembered among them."""
    login = changed(rotated(login_of(), times), **PARKED)
    woken, done = add(login, tokens("r-0", "a-new"))
    assert done.woken == (None,)
    assert woken.accounts[0].tokens.refresh_token == f"r-{times}"


def test_a_new_access_token_wakes_nobody_who_is_awake() -> None:
    """With a known refresh token it is no news: what is stored may be newer."""
    unchanged(login_of(), tokens(access="a-new"))


@pytest.mark.parametrize("times", [1, 2, 5])
def test_an_application_that_adds_its_own_copy_of_a_parked_account(times: int) -> None:
    """Every pair that the keeper handed out was seen for it: none wakes it, and none takes the place of a newer one."""
    login = changed(rotated(login_of(), times), **PARKED)
    for number in range(times + 1):
        unchanged(login, tokens(f"r-{number}", f"a-{number}"))


@pytest.mark.parametrize("number", [0, 3])
def test_what_keeps_its_refresh_token_keeps_what_is_known_of_it(number: int) -> None:
    """Waits, refusals and attempts are of that token; one that comes by a new login is another."""
    known: dict[str, Any] = {
        "produced_by": number,
        "settled_by": number,
        "failed_by": number + 1,
        "unknown_since": START,
        "resend_not_before": at(9000),
        "refused_at": START,
        "retry_not_before": at(120),
    }
    login = changed(login_of(), needs_code=True, due_at=None, **known)
    account = add(login, tokens(None, "a-new", got=100))[0].accounts[0]
    assert {name: getattr(account, name) for name in known} == known
    assert (account.epoch, account.due_at) == (login.accounts[0].epoch, None)
    assert (account.tokens.refresh_token, account.tokens.access_token) == ("r-0", "a-new")
    account = add(changed(login, needs_code=False), tokens(None, "a-new", got=100))[0].accounts[0]
    assert account.due_at == at(9000)
    account = add(login, tokens("r-new", "a-new", got=100))[0].accounts[0]
    assert [getattr(account, name) for name in known] == [0, 0, 0, None, None, None, None]
    assert account.due_at is not None


def test_accounts_without_a_refresh_token() -> None:
    """They are known by their access token or token id."""
    login = login_of(tokens(None))
    unchanged(login, tokens(None))
    by_id = login_of(tokens(None, None, token_id="id-1"))
    unchanged(by_id, tokens(None, None, token_id="id-1"))
    assert add(login, tokens(None, "a-new"))[1].replaced == (None,)
    assert add(login, tokens("r-new", "a-0"))[1].replaced == (None,), "now there is a refresh token"


@pytest.mark.parametrize("times", [0, 1, 3])
def test_an_access_token_alone_never_erases_the_refresh_token_it_came_with(times: int) -> None:
    """It is the stored one, and so no news."""
    unchanged(rotated(login_of(), times), tokens(None, f"a-{times}"))


def test_known_tokens_under_a_name_that_is_new() -> None:
    """Whoever they are given for: a token is never kept for two accounts because one has no id yet."""
    login = rotated(login_of(), 2)
    for number in (0, 1, 2):
        known = tokens(f"r-{number}", f"a-{number}", "A")
        after, done = add(login, known, tokens("r-other", account="B"))
        assert (done.unchanged, done.new) == ((None,), ("B",))
        assert len(after.accounts) == 2
        assert after.accounts[0].tokens.refresh_token == "r-2"


def test_ids_of_two_kinds() -> None:
    """One account, known by the broker's id and named by Mesh's: the token tells."""
    login = login_of(tokens(account="A"))
    assert len(add(login, tokens(mesh_account_id="M"))[0].accounts) == 1


def test_without_an_id_the_tokens_say_whose_they_are() -> None:
    """In a login of several accounts; and where they do not, nobody gets an account that cannot be asked for."""
    login = rotated(login_of(tokens(account="A"), tokens("r-b", account="B")), 2)
    for known in ("r-0", "r-1", "r-2", "r-b"):
        unchanged(login, tokens(known, None))
    with pytest.raises(InvalidRequest):
        add(login, tokens("r-new", "a-new"))


def test_the_only_account_takes_the_name_that_it_is_given() -> None:
    """Where one of both has no id, the login's only account is meant."""
    after, done = add(login_of(), tokens("r-new", account="A"))
    assert (done.replaced, len(after.accounts)) == (("A",), 1)
    assert add(login_of(tokens(account="A")), tokens("r-new"))[1].replaced == ("A",)
    assert add(login_of(tokens(account="A")), tokens("r-new", account="B"))[1].new == ("B",)


def test_a_joined_account_is_known_too() -> None:
    """What a reply brought for an account not seen before, and is added afterwards, is no news."""
    login = login_of(tokens(account="A"))
    entries = success(brought(tokens("r-1", "a-1", "A")), beside(tokens("r-b", "a-b", "B")))
    login = apply_success(login, attempt(login, 1), entries, context(1)).login
    assert len(login.accounts) == 2
    unchanged(login, tokens("r-b", "a-b", "B"))
    unchanged(login, tokens(account="A"), tokens("r-b", "a-b", "B"))


def test_what_is_due_at_once_is_spread() -> None:
    """Over the span that was asked for; what is due later stays."""
    spread = Terms(over=HOUR)
    due = [
        new_login(f"user-{n}", "row", (tokens(access=None),), context(), spread)[0].accounts[0].due_at
        for n in range(500)
    ]
    assert all(it is not None and at() <= it < at(3600) for it in due)
    assert len(set(due)) == 500
    late = new_login("user-7", "row", (tokens(),), context(), spread)[0].accounts[0]
    assert late == evolve(login_of().accounts[0], epoch=late.epoch)


AT_ONCE = Terms(at_once=True)


def test_due_at_once() -> None:
    """Whatever the lifetimes say; but nothing is exchanged before it may be, nor without a refresh token."""
    assert new_login("u", "row", (tokens(),), context(), AT_ONCE)[0].accounts[0].due_at == START
    delayed = tokens(access=None, not_before=at(500))
    assert new_login("u", "row", (delayed,), context(), AT_ONCE)[0].accounts[0].due_at == at(500)
    assert new_login("u", "row", (tokens(None),), context(), AT_ONCE)[0].accounts[0].due_at == at(3600)


@pytest.mark.parametrize(
    ("login_id", "given"),
    [
        ("", [tokens()]),
        (None, [tokens()]),
        (7, [tokens()]),
        ("\ud800", [tokens()]),
        ("u", []),
        ("u", [tokens(), "r-0"]),
        ("u", [None]),
        ("u", [Tokens("coinbase")]),
        ("u", [Tokens("coinbase", trade_token="t")]),
        ("u", [tokens(), tokens("r-1", account="A")]),
        ("u", [tokens(account="A"), tokens("r-1", account="A")]),
        ("u", [tokens(mesh_account_id="M"), tokens("r-1", mesh_account_id="M")]),
        ("u", [tokens(account="A"), tokens("r-1", account="B", broker="weBull")]),
        ("u", [tokens(broker="weBull")]),
    ],
)
def test_what_cannot_be_one_login(login_id: Any, given: Any) -> None:
    """It is refused, and the tokens are not shown."""
    with pytest.raises(InvalidRequest) as caught:
        check_login(login_id, given, "coinbase")
    assert "r-0" not in str(caught.value)


_NAMES = st.sampled_from([None, "A", "B"])
_TOKENS = st.builds(
    lambda refresh, access, account, mesh: tokens(refresh, access, account, mesh_account_id=mesh),
    st.sampled_from(["r-0", "r-1", "r-2"]),
    st.sampled_from([None, "a-0", "a-1"]),
    _NAMES,
    st.sampled_from([None, "M"]),
)


@given(st.lists(_TOKENS, min_size=1, max_size=5), st.booleans())
@bounded(400)
def test_repeating_any_add_changes_nothing(given: list[Tokens], parked: bool) -> None:
    """Whatever was added one after another: the last, added once more, is no news; nor do accounts share ids."""
    login = login_of(given[0])
    for fresh in given[1:]:
        try:
            login, _ = add(changed(login, **PARKED) if parked else login, fresh)
        except InvalidRequest:
            continue
        again, done = add(login, fresh)
        assert not done.changed
        assert again == login
    ids = [it.tokens.account_id for it in login.accounts if it.tokens.account_id]
    assert len(ids) == len(set(ids))
    assert len({it.epoch for it in login.accounts}) == len(login.accounts)
