"""Whose entry it is: by account id, then Mesh's account id; a single one is of the account asked for."""

from itertools import permutations
from typing import Any

import pytest

from mesh_refresh import AccountNotInReply, Refreshed, Tokens
from tests.replies.wire_replies import AT, entry, refreshed, success

A = Tokens("coinbase", "fake-refresh-old", account_id="A", mesh_account_id="MA", ref="mine")
ONLY_ID = Tokens("coinbase", "fake-refresh-old", account_id="A", ref="mine")
ONLY_MESH = Tokens("coinbase", "fake-refresh-old", mesh_account_id="MA", ref="mine")
NAMELESS = Tokens("coinbase", "fake-refresh-old", ref="mine")


def outcome(*entries: dict[str, Any], old: Any = A, **fields: Any) -> Refreshed:
    return refreshed(success(*entries, **fields), old)


def pair(name: str) -> dict[str, Any]:
    return {"accessToken": f"fake-access-{name}", "refreshToken": f"fake-refresh-{name}"}


def all_of(found: Refreshed) -> list[tuple[str | None, str | None, str | None]]:
    return [(tokens.account_id, tokens.access_token, tokens.refresh_token) for tokens in found.all_tokens]


@pytest.mark.parametrize("old", [A, ONLY_ID, ONLY_MESH], ids=["both", "account id", "mesh id"])
def test_by_id_among_several(old: Tokens) -> None:
    """Among several entries, that of the account asked for is found by either id, wherever it stands."""
    entries = [entry(name, f"M{name}", **pair(name)) for name in "ABC"]
    for order in permutations(entries):
        found = outcome(*order, old=old)
        assert found.tokens.account_id == "A"
        assert found.tokens.access_token == "fake-access-A"
        assert sorted(tokens.account_id or "" for tokens in found.all_tokens) == ["A", "B", "C"]


def test_the_account_id_comes_before_meshs() -> None:
    """An entry with the same account id is the one, even where another has the same Mesh id."""
    for order in permutations([entry(None, "MA", **pair("other")), entry("A", None, **pair("own"))]):
        assert outcome(*order).tokens.access_token == "fake-access-own"


def test_a_differing_account_id_outranks_an_equal_mesh_id() -> None:
    """Accounts with different account ids are different, whatever Mesh's ids say."""
    with pytest.raises(AccountNotInReply):
        _ = outcome(entry("B", "MA", **pair("B"))).tokens


@pytest.mark.parametrize(
    ("old", "ids"),
    [
        (A, (None, None)), (A, ("A", None)), (A, (None, "MA")), (A, ("A", "MX")),
        (ONLY_ID, (None, "MX")), (ONLY_MESH, ("X", None)), (NAMELESS, ("X", "MX")), (NAMELESS, (None, None)),
    ],
)  # fmt: skip
def test_a_single_entry_belongs_to_the_account_asked_for(old: Tokens, ids: tuple[str | None, str | None]) -> None:
    """A single entry is of the account asked for, unless both ids are known and differ."""
    found = outcome(entry(*ids, **pair("new")), old=old)
    assert found.tokens.refresh_token == "fake-refresh-new"
    assert found.tokens.ref == "mine"
    assert found.tokens.account_id == (ids[0] or old.account_id)
    assert found.tokens.mesh_account_id == (ids[1] or old.mesh_account_id)


@pytest.mark.parametrize(("old", "ids"), [(A, ("B", None)), (ONLY_MESH, (None, "MB")), (A, (None, "MB"))])
def test_a_single_entry_of_another_account(old: Tokens, ids: tuple[str | None, str | None]) -> None:
    """A single entry of another account is kept as that account's, and asking for the own one says so."""
    found = outcome(entry(*ids, **pair("B")), old=old)
    (other,) = found.all_tokens
    assert (other.account_id, other.mesh_account_id, other.ref) == (*ids, None)
    assert other.refresh_token == "fake-refresh-B"
    with pytest.raises(AccountNotInReply) as caught:
        _ = found.tokens
    assert caught.value.outcome is found
    assert caught.value.token_may_be_spent
    assert "all_tokens" in str(caught.value)
    assert found.unwrap() is found


def test_several_nameless_entries() -> None:
    """Several entries without ids belong to nobody known; each is kept."""
    found = outcome(pair("1"), pair("2"))
    assert all_of(found) == [(None, "fake-access-1", "fake-refresh-1"), (None, "fake-access-2", "fake-refresh-2")]
    with pytest.raises(AccountNotInReply):
        _ = found.tokens


@pytest.mark.parametrize("copies", [2, 3, 5])
@pytest.mark.parametrize("old", [A, ONLY_ID, ONLY_MESH, NAMELESS])
def test_copies_of_one_pair_are_one_pair(old: Tokens, copies: int) -> None:
    """Entries that are equal to the byte, without ids, are of the account asked for, and of every other one."""
    found = outcome(*[pair("same")] * copies, old=old)
    (only,) = found.all_tokens
    assert found.tokens is only
    assert (only.account_id, only.refresh_token) == (old.account_id, "fake-refresh-same")
    for sibling in (
        Tokens("coinbase", "fake-refresh-old", access_token="b", account_id="B", ref="theirs"),
        Tokens("coinbase", "fake-refresh-of-b", access_token="b", account_id="B", ref="theirs"),
    ):
        kept = found.onto(sibling)
        assert (kept.refresh_token, kept.access_token) == ("fake-refresh-same", "fake-access-same")
        assert (kept.account_id, kept.mesh_account_id, kept.ref) == ("B", None, "theirs")


def test_copies_beside_other_entries() -> None:
    """They are one pair too. Where another pair without a name came, nothing says which accounts it is for."""
    named = outcome(pair("same"), entry("B", **pair("B")), pair("same"))
    assert (named.tokens.access_token, named.shared) == ("fake-access-same", 0)
    unclear = outcome(pair("same"), pair("other"), pair("same"))
    assert (len(unclear.all_tokens), unclear.asked, unclear.shared) == (2, None, None)
    top = outcome(pair("same"), pair("same"), account={"accountId": "B"})
    assert (top.tokens.access_token, top.shared) == ("fake-access-same", 0)
    assert outcome(entry("A", **pair("A")), entry("B", **pair("A"))).shared is None


def test_an_entry_that_repeats_what_is_stored() -> None:
    """It is of the account that has it, for the one asked for and for one that is saved."""
    new = {"accessToken": "fake-access-new", "refreshToken": "fake-refresh-old"}
    assert outcome(pair("1"), new).tokens.access_token == "fake-access-new"
    sibling = Tokens("coinbase", "fake-refresh-1", access_token="b", account_id="B")
    assert outcome(pair("1"), pair("2")).onto(sibling).access_token == "fake-access-1"


def test_the_last_entry_is_of_the_account_asked_for() -> None:
    """Where all other entries are of other accounts."""
    found = outcome(entry("B", **pair("B")), pair("own"), entry(None, "MC", **pair("C")))
    assert (found.tokens.account_id, found.tokens.access_token) == ("A", "fake-access-own")


def test_ref_only_to_the_account_asked_for() -> None:
    """ref, expiry of the old access token and ids go to the account asked for and to no other."""
    found = outcome(entry("A", **pair("A")), entry("B", **pair("B")), entry("C", accessToken="fake-access-C"))
    assert [tokens.ref for tokens in found.all_tokens] == ["mine", None, None]
    assert [tokens.mesh_account_id for tokens in found.all_tokens] == ["MA", None, None]


def test_siblings_are_complete() -> None:
    """A sibling has what belongs to the login, and of tokens what the reply gives it: no refresh token of another."""
    old = Tokens("weBull", "fake-refresh-old", access_token="fake-access-old", trade_token="fake-trade",
                 metadata={"k": "v"}, account_id="A", ref=1)  # fmt: skip
    found = outcome(entry("A", **pair("A")), entry("B", accessToken="fake-access-B"), old=old, expiresInSeconds=60)
    sibling = found.all_tokens[1]
    assert (sibling.broker, sibling.trade_token, sibling.metadata) == ("weBull", "fake-trade", {"k": "v"})
    assert (sibling.access_token, sibling.refresh_token) == ("fake-access-B", None)
    assert (sibling.obtained_at, sibling.expires_at) == (AT, found.tokens.expires_at)


def test_a_sibling_never_gets_the_access_token_asked_with() -> None:
    """A sibling whose entry has no access token has none: that of the account asked for is not its own."""
    old = Tokens("coinbase", "fake-refresh-old", access_token="fake-access-old", token_id="fake-id-old", account_id="A")
    sibling = outcome(entry("A", **pair("A")), entry("B", refreshToken="fake-refresh-B"), old=old).all_tokens[1]
    assert (sibling.access_token, sibling.token_id, sibling.refresh_token) == (None, None, "fake-refresh-B")


def test_a_shared_refresh_token_brings_its_end_to_siblings() -> None:
    """A sibling that takes the login's new refresh token takes the end that came with it."""
    found = outcome(
        entry("A", accessToken="fake-access-A"), entry("B", accessToken="fake-access-B"),
        refreshToken="fake-refresh-top", refreshTokenExpiresInSeconds=86_400,
    )  # fmt: skip
    assert [tokens.refresh_token for tokens in found.all_tokens] == ["fake-refresh-top"] * 2
    assert found.all_tokens[1].refresh_token_expires_at == found.tokens.refresh_token_expires_at is not None


def test_a_refresh_token_of_several_accounts_is_shared() -> None:
    """One that the reply gives to several accounts is of the login: another account that was given none takes it.

    The account asked for keeps its own, which may be another one that was not rotated.
    """
    same = {"refreshToken": "fake-refresh-same"}
    entries = entry("B", **same), entry("A", accessToken="fake-access-A"), entry("C", **same), entry("D", tokenId="d")
    found = outcome(*entries)
    tokens = [tokens.refresh_token for tokens in found.all_tokens]
    assert tokens == ["fake-refresh-same", "fake-refresh-old", "fake-refresh-same", "fake-refresh-same"]
    assert ["refresh_token" in names for names in found.brought] == [True, False, True, False]


def test_a_refresh_token_without_account_is_shared() -> None:
    """An entry with nothing but a refresh token is of the login, and no account of its own."""
    loose = {"refreshToken": "fake-refresh-loose"}
    found = outcome(entry("A", accessToken="fake-access-A"), entry("B", **pair("B")), loose)
    assert all_of(found) == [("A", "fake-access-A", "fake-refresh-loose"), ("B", "fake-access-B", "fake-refresh-B")]
    kept = outcome(entry("A", **pair("A")), entry("B", **pair("B")), loose)
    assert (None, None, "fake-refresh-loose") in all_of(kept)


def test_what_is_not_new_is_not_shared() -> None:
    """The token that was sent, and tokens of two kinds, are no new token of the login."""
    echo = outcome(entry("A", **pair("A")), entry("B", accessToken="b"), refreshToken="fake-refresh-old")
    assert ("B", "b", None) in all_of(echo)
    two = outcome(entry("A", **pair("A")), entry("C", **pair("C")), entry("B", accessToken="b"))
    assert ("B", "b", None) in all_of(two)


def test_entries_without_a_token_are_nobody() -> None:
    """Entries without any token neither count as accounts nor stand in the way of a single one."""
    found = outcome(entry("B"), entry("C", accessToken=None, refreshToken=""), pair("new"))
    assert found.tokens.refresh_token == "fake-refresh-new"
    assert len(found.all_tokens) == 1


def test_the_same_account_twice() -> None:
    """Two entries of one account are both kept."""
    found = outcome(entry("A", **pair("1")), entry("A", **pair("2")))
    assert [row[2] for row in all_of(found)] == ["fake-refresh-1", "fake-refresh-2"]


# The deprecated top-level fields, in mixtures.

TOP = {"accessToken": "fake-access-top", "refreshToken": "fake-refresh-top"}
TOP_ROW = ("fake-access-top", "fake-refresh-top")


def test_top_level_alone() -> None:
    """Top-level tokens alone are those of the account asked for."""
    assert all_of(outcome(**TOP)) == [("A", *TOP_ROW)]
    assert all_of(outcome(**TOP, account={"accountId": "A"})) == [("A", *TOP_ROW)]
    assert all_of(outcome(**TOP, brokerAccountTokens=[])) == [("A", *TOP_ROW)]
    assert all_of(outcome(entry("B"), **TOP)) == [("A", *TOP_ROW)]


def test_top_level_of_another_account() -> None:
    """Top-level tokens of a named other account are that account's."""
    found = outcome(**TOP, account={"accountId": "B"})
    assert all_of(found) == [("B", *TOP_ROW)]
    with pytest.raises(AccountNotInReply):
        _ = found.tokens


def test_top_level_repeats_the_entry() -> None:
    """Top-level tokens that repeat an entry's are not another account."""
    for account in ({}, {"account": {"accountId": "A"}}):
        assert all_of(outcome(entry("A", **pair("A")), **pair("A"), **account)) == [
            ("A", "fake-access-A", "fake-refresh-A")
        ]


def test_top_level_completes_a_single_entry() -> None:
    """What a single entry leaves out, the top level fills in."""
    for own in (entry(), entry("A")):
        half = outcome({**own, "accessToken": "fake-access-A"}, refreshToken="fake-refresh-top")
        assert all_of(half) == [("A", "fake-access-A", "fake-refresh-top")]
        half = outcome({**own, "refreshToken": "fake-refresh-A"}, accessToken="fake-access-top")
        assert all_of(half) == [("A", "fake-access-top", "fake-refresh-A")]


def test_top_level_names_the_account_of_a_nameless_entry() -> None:
    """The account at the top level is that of a single entry without one: the account asked for gets none of it."""
    for mine in ({}, pair("B"), {"refreshToken": "fake-refresh-B"}):
        for old in (A, ONLY_ID):
            found = outcome(pair("B"), account={"accountId": "B"}, old=old, **mine)
            assert all_of(found) == [("B", "fake-access-B", "fake-refresh-B")]
            assert found.all_tokens[0].ref is None
            with pytest.raises(AccountNotInReply):
                _ = found.tokens
    same = outcome(pair("A"), account={"meshAccountId": "MA"})
    assert same.tokens.access_token == "fake-access-A"
    nobody = outcome(pair("A"), account={"accountName": "checking"})
    assert all_of(nobody) == [("A", "fake-access-A", "fake-refresh-A")]


@pytest.mark.parametrize("old", [A, ONLY_ID, ONLY_MESH, NAMELESS])
@pytest.mark.parametrize("account", [None, {"accountId": "A"}, {"meshAccountId": "MA"}, {"accountName": "checking"}])
@pytest.mark.parametrize(
    "top",
    [
        {"accessToken": "fake-access-top", "refreshToken": "fake-refresh-top"},
        {"accessToken": "fake-access-top"},
        {"refreshToken": "fake-refresh-top"},
    ],
)
def test_one_account_stays_one(old: Tokens, account: dict[str, str] | None, top: dict[str, str]) -> None:
    """A list with one entry without ids, and a deprecated top level with other strings: still one account."""
    fields: dict[str, Any] = {**top, **({} if account is None else {"account": account})}
    found = outcome(pair("listed"), old=old, **fields)
    (only,) = found.all_tokens
    assert found.tokens == only
    assert (only.access_token, only.refresh_token) == ("fake-access-listed", "fake-refresh-listed")
    named = entry(None, None, **pair("listed")) | {"account": {"accountName": "checking"}}
    assert len(outcome(named, old=old, **fields).all_tokens) == 1


def test_a_top_level_of_another_account_with_tokens_of_its_own() -> None:
    """It is kept beside the listed entry, and nothing of either goes to the account asked for."""
    found = outcome(pair("listed"), **TOP, account={"accountId": "B"})
    assert all_of(found) == [("B", "fake-access-listed", "fake-refresh-listed"), ("B", *TOP_ROW)]
    with pytest.raises(AccountNotInReply):
        _ = found.tokens


def test_a_refresh_token_at_the_top_level_is_the_logins() -> None:
    """With several accounts, a top-level refresh token is for each that has none of its own."""
    found = outcome(entry("A", accessToken="fake-access-A"), entry("B", **pair("B")), refreshToken="fake-refresh-top")
    assert all_of(found)[:2] == [("A", "fake-access-A", "fake-refresh-top"), ("B", "fake-access-B", "fake-refresh-B")]


def test_a_top_level_token_of_one_named_account() -> None:
    """With several accounts, tokens under a top-level account complete that account and no other."""
    found = outcome(
        entry("A", accessToken="fake-access-A"), entry("B", accessToken="fake-access-B"),
        account={"accountId": "B"}, refreshToken="fake-refresh-top",
    )  # fmt: skip
    assert ("B", "fake-access-B", "fake-refresh-top") in all_of(found)
    assert found.tokens.access_token == "fake-access-A"


def test_differing_top_level_tokens_are_kept() -> None:
    """Top-level tokens that are in no entry are never dropped, and never given to an account with another id."""
    for entries in ([entry("A", **pair("A"))], [entry("A", **pair("A")), entry("B", **pair("B"))]):
        for account in ({}, {"account": {"accountId": "Z"}}, {"account": {"accountId": "A"}}):
            found = outcome(*entries, **TOP, **account)
            tokens = [row[1:] for row in all_of(found)]
            assert TOP_ROW in tokens
            assert found.tokens.access_token == "fake-access-A"
            for row in all_of(found):
                if row[1:] == TOP_ROW and account.get("account"):
                    assert row[0] == account["account"]["accountId"]


def test_a_top_level_beside_a_pair_of_several_accounts() -> None:
    """A pair that is listed twice is of several accounts: another token at the top level may be the one of an account.

    So it is kept, and the one listed is still of the account asked for. Under a name it is that account's.
    """
    found = outcome(pair("both"), pair("both"), **TOP)
    assert found.tokens.access_token == "fake-access-both"
    assert [row[1:] for row in all_of(found)] == [("fake-access-both", "fake-refresh-both"), TOP_ROW]
    named = outcome(pair("both"), pair("both"), **TOP, account={"accountId": "A"})
    assert (named.tokens.access_token, named.tokens.refresh_token) == TOP_ROW
    assert named.all_tokens[0].access_token == "fake-access-both"
    assert named.shared == 0
    filled = outcome({"accessToken": "fake-access-both"}, {"accessToken": "fake-access-both"}, refreshToken="fake-new")
    assert [row[1:] for row in all_of(filled)] == [("fake-access-both", "fake-new")]
    assert filled.shared == 0


def test_a_listed_echo_beside_a_new_token_at_the_top_level() -> None:
    """An echo is no news: of two strings for one place, the one that was not sent counts."""
    echo = {"accessToken": A.access_token, "refreshToken": A.refresh_token}
    for listed in ([echo], [{"refreshToken": A.refresh_token}], [{"refreshToken": A.refresh_token}] * 2):
        found = outcome(*listed, **TOP)
        (only,) = found.all_tokens
        assert found.tokens == only
        assert (only.access_token, only.refresh_token) == TOP_ROW
    half = outcome(echo | {"refreshToken": "fake-refresh-listed"}, **TOP)
    assert (half.tokens.access_token, half.tokens.refresh_token) == ("fake-access-top", "fake-refresh-listed")
