"""Which fields of an entry are news: what the reply had, and what a strategy has changed since."""

from datetime import timedelta
from typing import Any

from attrs import evolve

from mesh_refresh import Refreshed, Tokens
from mesh_refresh.replies.brought import Brought
from tests.replies.wire_replies import AT, entry, refreshed, success

LATER = AT + timedelta(days=30)
A = Tokens("weBull", "r-0", access_token="a-0", account_id="A", ref="mine", trade_token="t-A", metadata={"k": "A"})


def after(*entries: dict[str, Any], old: Tokens = A, **fields: Any) -> Refreshed:
    return refreshed(success(*entries, **fields), old)


def two() -> Refreshed:
    return after(entry("A", accessToken="a-1"), entry("B", accessToken="b-1", refreshToken="r-b1"))


def names(outcome: Refreshed, index: int = 0) -> set[str]:
    return set(outcome.brought[index])


def decorated(tokens: Tokens) -> Tokens:
    return evolve(tokens, access_token=f"Bearer {tokens.access_token}")


def test_the_reading_tells_what_the_reply_had() -> None:
    """Ids, tokens and lifetimes, entry by entry; everything else was carried over."""
    outcome = after(
        entry("A", "MA", accessToken="a-1"), entry("B", tokenId="id", refreshToken="r-b"), expiresInSeconds=9
    )
    assert names(outcome) == {"account_id", "mesh_account_id", "access_token", "expires_at"}
    assert names(outcome, 1) == {"account_id", "token_id", "refresh_token", "expires_at"}
    top = after(accessToken="a-1", refreshToken="r-1", refreshTokenExpiresInSeconds=9)
    assert names(top) == {"access_token", "refresh_token", "refresh_token_expires_at"}


def test_what_a_strategy_changes_is_brought() -> None:
    """By `evolve` alone: what differs from the reading counts as brought, and the rest is told by the reading."""
    outcome = two()
    changed = evolve(outcome, all_tokens=tuple(decorated(it) for it in outcome.all_tokens))
    assert changed.brought == outcome.brought
    made = evolve(outcome, all_tokens=(evolve(outcome.tokens, refresh_token="made", metadata={"a": "b"}),))
    assert names(made) == {"account_id", "access_token", "refresh_token", "metadata"}
    saved = made.onto(evolve(A, refresh_token="r-9"))
    assert (saved.refresh_token, saved.metadata) == ("made", {"a": "b"})


def test_a_strategy_may_reorder_drop_rename_and_add_entries() -> None:
    """Each is compared with the reading that it was made of."""
    outcome = two()
    mine, theirs = outcome.all_tokens
    turned = evolve(outcome, all_tokens=(decorated(theirs), decorated(mine)), asked=1)
    assert turned.brought == tuple(reversed(outcome.brought))
    dropped = evolve(outcome, all_tokens=(decorated(theirs),), asked=None)
    assert dropped.brought == outcome.brought[1:]
    renamed = evolve(outcome, all_tokens=(evolve(theirs, account_id="B2"), mine), asked=1)
    assert renamed.brought == tuple(reversed(outcome.brought))
    added = evolve(outcome, all_tokens=(mine, theirs, Tokens("weBull", "r-c", access_token="a-0", account_id="C")))
    assert added.brought[:2] == outcome.brought
    assert names(added, 2) == {"refresh_token", "account_id"}


def test_a_strategy_without_a_reading() -> None:
    """An outcome that a strategy made by itself: what differs from what was sent, unless it says better."""
    fresh = evolve(A, access_token="a-1", expires_at=LATER)
    made = Refreshed(A, (fresh,), two().reply)
    assert names(made) == {"access_token", "expires_at"}
    longer = Refreshed(A, (evolve(A, expires_at=LATER),), made.reply)
    assert names(longer) == {"access_token", "expires_at"}
    said = Refreshed(A, (fresh,), made.reply, read=(Brought(frozenset({"refresh_token", "access_token"})),))
    assert names(said) == {"refresh_token", "access_token"}


def test_absent_is_not_erased_by_a_strategy() -> None:
    """A field that a strategy has emptied is no news."""
    outcome = after(accessToken="a-1", refreshToken="r-1")
    emptied = evolve(outcome, all_tokens=(evolve(outcome.tokens, refresh_token=None, metadata=None),))
    assert emptied.onto(A).refresh_token == "r-0"
    assert emptied.onto(A).metadata == A.metadata
