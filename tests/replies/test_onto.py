"""What to save for an account: what the reply brought replaces what is stored, and the rest stays."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import MfaRequired, Refreshed, Tokens
from tests.replies.wire_replies import AT, entry, pending, refreshed, success

LATER = AT + timedelta(days=30)
A = Tokens("weBull", "r-0", access_token="a-0", account_id="A", ref="mine", trade_token="t-A", metadata={"k": "A"})
B = Tokens(
    "weBull", "r-b", access_token="b-0", account_id="B", ref="theirs", trade_token="t-B", metadata={"k": "B"},
    expires_at=AT, refresh_token_expires_at=LATER,
)  # fmt: skip
SHARING = evolve(B, refresh_token="r-0")


def after(*entries: dict[str, Any], old: Tokens = A, **fields: Any) -> Refreshed:
    return refreshed(success(*entries, **fields), old)


def test_a_siblings_own_refresh_token_stays() -> None:
    """The entry of a sibling without a refresh token of its own never replaces a stored one."""
    outcome = after(
        entry("A", accessToken="a-1", refreshToken="r-1"), entry("B", accessToken="b-1"), expiresInSeconds=9
    )
    saved = outcome.onto(B)
    assert saved == evolve(B, access_token="b-1", obtained_at=AT, expires_at=AT + timedelta(seconds=9))
    assert outcome.onto(A) == outcome.tokens


def test_a_spent_refresh_token_becomes_the_new_one() -> None:
    """Also for an account that the reply left out, and one that was given an access token only."""
    life: dict[str, Any] = {"refreshTokenExpiresInSeconds": 60}
    end = AT + timedelta(seconds=60)
    pair = {"accessToken": "a-1", "refreshToken": "r-1"}
    left_out = after(entry("A", **pair), **life).onto(SHARING)
    assert left_out == evolve(SHARING, refresh_token="r-1", refresh_token_expires_at=end)
    named = after(entry("A", **pair), entry("B", accessToken="b-1"), **life).onto(SHARING)
    assert (named.refresh_token, named.access_token, named.refresh_token_expires_at) == ("r-1", "b-1", end)


def test_another_stored_token_is_left_alone() -> None:
    """A stored token that is not the spent one is not replaced by what was carried over: it may have come since."""
    newer = evolve(A, refresh_token="r-9")
    assert after(entry("A", accessToken="a-1")).onto(newer).refresh_token == "r-9"
    assert after(entry("A", accessToken="a-1", refreshToken="r-0")).onto(newer).refresh_token == "r-9"
    assert after(entry("A", accessToken="a-1", refreshToken="r-1")).onto(newer).refresh_token == "r-1"
    shared = after(entry("A", accessToken="a-1"), entry("B", accessToken="b-1"), refreshToken="r-1")
    assert shared.onto(B).refresh_token == "r-b"
    assert shared.onto(SHARING).refresh_token == "r-1"


def test_nothing_stored_yet() -> None:
    """An account without anything stored is saved as it came."""
    outcome = after(entry("A", accessToken="a-1"), entry("B", accessToken="b-1"), entry("C", refreshToken="r-c"))
    assert [outcome.onto(fresh) for fresh in outcome.all_tokens] == list(outcome.all_tokens)


def test_what_belongs_to_no_token_stays() -> None:
    """Trade token, metadata and ref of a sibling are its own; where it has none it takes the login's."""
    outcome = after(entry("A", accessToken="a-1"), entry("B", accessToken="b-1", refreshToken="r-b1"))
    saved = outcome.onto(B)
    assert (saved.trade_token, saved.metadata, saved.ref) == ("t-B", {"k": "B"}, "theirs")
    bare = outcome.onto(Tokens("weBull", "r-b", account_id="B"))
    assert (bare.trade_token, bare.metadata, bare.ref) == ("t-A", {"k": "A"}, None)


@pytest.mark.parametrize("stored_id", [None, "A"])
@pytest.mark.parametrize("sent_id", [None, "A"])
@pytest.mark.parametrize("told_id", [None, "A"])
def test_a_single_account_is_found_by_what_is_known(
    stored_id: str | None, sent_id: str | None, told_id: str | None
) -> None:
    """Whoever has learnt its id: the database, the caller or the reply."""
    stored, sent = evolve(A, account_id=stored_id), evolve(A, account_id=sent_id)
    outcome = after(entry(told_id, accessToken="a-1", refreshToken="r-1"), old=sent)
    assert outcome.onto(stored).access_token == "a-1"
    assert outcome.onto(stored).account_id == (told_id or sent_id or stored_id)


def test_another_accounts_row_is_never_given_the_tokens_asked_for() -> None:
    """Rows of accounts that are not in the reply keep their tokens."""
    outcome = after(entry("A", accessToken="a-1", refreshToken="r-1"))
    assert outcome.onto(B) == B
    other_kind = Tokens("weBull", "r-m", access_token="m-0", mesh_account_id="M")
    assert outcome.onto(other_kind) == other_kind
    nameless = Tokens("weBull", "r-n", access_token="n-0")
    several = after(entry("A", accessToken="a-1"), entry("B", accessToken="b-1"))
    assert several.onto(nameless) == nameless


def test_entries_without_ids_go_to_the_row_without_one() -> None:
    """Nobody can tell them apart: the first one is saved, and not none."""
    outcome = after({"accessToken": "a-1", "refreshToken": "r-1"}, {"accessToken": "b-1", "refreshToken": "r-b1"})
    assert outcome.onto(evolve(A, account_id=None)).refresh_token == "r-1"


def test_lifetimes_stay_with_their_token() -> None:
    """A token that comes back as it was, without a lifetime, ends when it did; a new one has none then."""
    same = after(entry("A", accessToken="a-1"), entry("B", accessToken="b-0", refreshToken="r-b")).onto(B)
    assert (same.expires_at, same.refresh_token_expires_at) == (AT, LATER)
    new = after(entry("A", accessToken="a-1"), entry("B", accessToken="b-1", refreshToken="r-b1")).onto(B)
    assert new.expires_at is new.refresh_token_expires_at is None
    moved = after(entry("A", accessToken="a-1"), entry("B", tokenId="id-1"), expiresInSeconds=5).onto(B)
    assert (moved.auth_token, moved.access_token) == ("id-1", None)


def test_a_question_is_saved_likewise() -> None:
    """The first reply of a question renews what it brings, before and after it was a document."""
    asked = pending(A, brokerAccountTokens=[entry("A", refreshToken="r-1"), entry("B", accessToken="b-1")])
    for it in (asked, MfaRequired.from_json(asked.to_json())):
        assert it.asked == 0
        assert it.brought == asked.brought
        assert it.onto(A).refresh_token == "r-1"
        assert it.onto(A).access_token == "a-0"
        assert (it.onto(B).refresh_token, it.onto(B).access_token) == ("r-b", "b-1")
    nothing = pending(A)
    assert nothing.onto(B) == B
    assert nothing.onto(A) == A


def test_an_asked_place_that_is_not_there() -> None:
    """A strategy that drops the entry asked for and does not say so costs nothing that is left."""
    outcome = after(entry("B", accessToken="b-1", refreshToken="r-b1"), entry("A", accessToken="a-1"))
    assert outcome.asked == 1
    short = evolve(outcome, all_tokens=outcome.all_tokens[:1])
    assert short.onto(B).refresh_token == "r-b1"
    nameless = evolve(A, account_id=None)
    assert short.onto(nameless) == evolve(nameless, refresh_token="r-b1")
