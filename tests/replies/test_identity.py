"""Which account an entry is of: by name, by a token that is stored, or because one entry and one account are left."""

from typing import Any

import pytest

from mesh_refresh import Tokens
from mesh_refresh.replies.identity import Owners, owners


def stored(name: str | None, mesh: str | None = None, *, pair: str | None = None) -> Tokens:
    pair = pair or f"fake-{name or mesh}"
    return Tokens(
        "etoro", f"{pair}-refresh", access_token=f"{pair}-access", account_id=name, mesh_account_id=mesh
    )  # fmt: skip


def entry(pair: str | None, name: str | None = None, mesh: str | None = None, **more: Any) -> Tokens:
    tokens: dict[str, Any] = {}
    if pair is not None:
        tokens = {"refresh_token": f"{pair}-refresh", "access_token": f"{pair}-access"}
    return Tokens("etoro", account_id=name, mesh_account_id=mesh, **{**tokens, **more})


A, B, C, NAMELESS = stored("A", "MA"), stored("B"), stored(None, "MC"), stored(None, pair="fake-nameless")
NEW, OTHER = entry("fake-new"), entry("fake-other")


@pytest.mark.parametrize(
    ("entries", "accounts", "of", "unclear"),
    [
        pytest.param([entry("n", "B"), entry("o", "A")], [A, B], (1, 0), (), id="names"),
        pytest.param([entry("n", None, "MA"), entry("o", None, "MC")], [A, C], (0, 1), (), id="Mesh's names"),
        pytest.param([entry("n", "Z")], [A, B], (None,), (), id="a new name"),
        pytest.param([NEW], [A], (0,), (), id="one and one"),
        pytest.param([NEW], [A, B], (None,), (0,), id="one entry, two accounts"),
        pytest.param([NEW, OTHER], [A], (None, None), (0, 1), id="two entries, one account"),
        pytest.param([NEW, OTHER], [A, B], (None, None), (0, 1), id="two and two"),
        pytest.param([entry("n", "A"), NEW], [A, B], (0, 1), (), id="the last ones"),
        pytest.param([entry("n", "A"), NEW], [A, B, C], (0, None), (1,), id="one entry, two accounts left"),
        pytest.param([entry("n", "A"), NEW], [A], (0, None), (1,), id="an entry, no account left"),
        pytest.param([entry("n", "A"), entry("o", "Z")], [A, B], (0, None), (), id="left, but named otherwise"),
        pytest.param([entry("n", "A"), entry("o", "Z")], [A, NAMELESS], (0, 1), (), id="left, and named by the reply"),
        pytest.param([entry("n", "Z"), NEW], [A], (None, 0), (), id="only one of them fits"),
        pytest.param([NEW, entry(None, access_token="fake-B-access")], [A, B], (0, 1), (), id="an access token"),
        pytest.param([entry(None, refresh_token="fake-B-refresh", access_token="n"), NEW, OTHER], [A, B, C],
                     (1, None, None), (1, 2), id="a refresh token"),
        pytest.param([entry(None, refresh_token="fake-A-refresh", access_token=it) for it in "no"], [A, B],
                     (None, None), (0, 1), id="a token of one account, twice"),
        pytest.param([entry("fake-A"), NEW], [A, stored("B", pair="fake-A")],
                     (None, None), (0, 1), id="a token of two accounts"),
        pytest.param([entry("n", "Z", access_token="fake-A-access"), NEW], [A, B], (None, None), (1,),
                     id="a token of an account, under another name"),
        pytest.param([entry("n", "A"), entry("n")], [A], (0, 0), (), id="a copy of what is given"),
        pytest.param([entry("n", "A"), entry(None, refresh_token="r")], [A, B], (0, None), (1,),
                     id="a refresh token alone is of the login"),
    ],
)  # fmt: skip
def test_whose_each_entry_is(
    entries: list[Tokens], accounts: list[Tokens], of: tuple[int | None, ...], unclear: tuple[int, ...]
) -> None:
    assert owners(entries, accounts) == Owners(of, unclear)


def test_what_is_known_already_comes_first() -> None:
    """The account asked for is known: what is left is told from there."""
    assert owners([NEW, OTHER], [A, B], given={1: 0}) == Owners((1, 0), ())


def test_an_account_that_cannot_be_meant_is_not_the_last() -> None:
    """One that was added since, for example: neither does it take the last entry, nor does it stand in the way."""
    assert owners([NEW], [A, B], eligible=[1]) == Owners((1,), ())
    assert owners([entry("n", "A"), NEW], [A, B], eligible=[0]) == Owners((0, None), (1,))
