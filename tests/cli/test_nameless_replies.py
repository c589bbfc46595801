"""Documents with named accounts, and replies that name none: run after run, nothing is lost and nothing grows."""

import json

import pytest

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.testing import Replies, Sharing
from tests.cli.conftest import Cli, Served


@pytest.mark.parametrize("accounts", [1, 2, 3])
@pytest.mark.parametrize(
    ("sharing", "replies"),
    [
        (Sharing.ONE_PAIR, Replies.ALL),
        (Sharing.ONE_PAIR, Replies.ASKED),
        (Sharing.PAIR_EACH, Replies.ASKED),
        (Sharing.PAIR_EACH, Replies.ALL),
        (Sharing.DIFFERENT_STRINGS, Replies.ALL),
    ],
)
def test_run_after_run(served: Served, cli: Cli, accounts: int, sharing: Sharing, replies: Replies) -> None:
    """No run sends a spent token, drops a live one, or adds an account; what is unclear is told once, by name."""
    login = served.fake.login(
        "etoro", accounts=accounts, named=True, named_replies=False, sharing=sharing, replies_with=replies
    )
    is_unclear = accounts > 1 and sharing is not Sharing.ONE_PAIR and replies is Replies.ALL
    path = cli.payload(login)
    for number in range(3):
        ran = cli("refresh", path, "--output", "new.json")
        assert ran.code == (Exit.NOT_IN_REPLY if is_unclear and number == 0 else Exit.REFRESHED), ran.err
        if is_unclear and number == 0:
            assert [f"etoro {name}: refreshed, but" in ran.err for name in login.account_ids] == [True] * accounts
        path = (cli.folder / "new.json").rename(cli.folder / f"run-{number}.json")
        documents = json.loads(path.read_text())
        assert len(documents) == accounts
        assert [(it.get("tokens") or it).get("account_id") is None for it in documents] == [is_unclear] * accounts
        assert not served.lost(path)
        assert not served.fake.reuses
        if (sharing, replies) == (Sharing.ONE_PAIR, Replies.ALL):
            assert len(served.fake.requests) == number + 1, "one exchange serves all accounts"
