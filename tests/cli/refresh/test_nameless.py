"""Replies that name no account, for logins whose accounts Link named: no spent token is sent, and nothing grows."""

import json
from pathlib import Path

import pytest
from attrs import evolve

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.testing import Replies, Sharing
from tests.cli.conftest import Cli, held
from tests.sharing import KNOWABLE, UNCLEAR


@pytest.mark.parametrize(("sharing", "replies"), KNOWABLE)
@pytest.mark.parametrize("accounts", [1, 2, 3, 5])
def test_rounds_in_place(cli: Cli, accounts: int, sharing: Sharing, replies: Replies) -> None:
    """No run sends a spent token, drops a live one, or adds an account. What is unclear is told once, by name."""
    fake = cli.served.fake
    login = fake.login(
        "etoro", accounts=accounts, sharing=sharing, replies_with=replies, named=True, named_replies=False,
        revokes_on_reuse=True,
    )  # fmt: skip
    is_unclear = accounts > 1 and (sharing, replies) in UNCLEAR
    source = cli.payload(login)
    for number in range(3):
        is_told = is_unclear and number == 0
        ran = cli("refresh", source, "-o", source)
        assert ran.code == (Exit.NOT_IN_REPLY if is_told else Exit.REFRESHED), ran.err
        assert [f"etoro {name}: refreshed, but" in ran.err for name in login.account_ids] == [is_told] * accounts
        documents = json.loads(source.read_text())
        assert [(it.get("tokens") or it).get("account_id") is None for it in documents] == [is_unclear] * accounts
        assert not fake.reuses
        assert not cli.served.lost(source)
        if (sharing, replies) == (Sharing.ONE_PAIR, Replies.ALL):
            assert len(fake.requests) == number + 1, "one exchange serves all accounts"


def test_fewer_entries_than_accounts_replace_none_that_may_be_good(cli: Cli) -> None:
    """Of three accounts two are renewed, without names: the third one's token is in the output still, and not sent."""
    fake = cli.served.fake
    login = fake.login("etoro", accounts=2, sharing=Sharing.PAIR_EACH, named=True, named_replies=False)
    other = fake.login("etoro", accounts=1, named=True)
    third = evolve(other.token, account_id="acc-3", mesh_account_id="third")
    source = cli.write("own.json", [{**it.to_document(), "login": "one"} for it in (*login.tokens, third)])
    for documents in (4, 4):
        assert cli("refresh", source, "-o", source).code == Exit.NOT_IN_REPLY
        assert not fake.reuses
        assert not cli.served.lost(source)
        assert len(json.loads(source.read_text())) == documents
    assert "may have renewed it, and names no account" in cli.runs[0].err


def test_a_token_that_was_seen_spent_is_kept_for_no_account(cli: Cli) -> None:
    """The reply renewed other accounts than the one asked for: what was sent is not sent by the next run either."""
    fake = cli.served.fake
    login = fake.login("etoro", accounts=2, revokes_on_reuse=True)
    document = login.token.to_document() | {"account_id": "other", "mesh_account_id": "other"}
    source = cli.write("tokens.json", document)
    for _ in range(2):
        cli("refresh", source, "-o", source)
        assert [tokens.account_id for tokens in held(json.loads(source.read_text()))] == ["other", "acc-1", "acc-2"]
    assert not fake.reuses
    assert not cli.served.lost(Path(source))
