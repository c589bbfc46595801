"""The table of exit codes, for every mixture of what can become of accounts."""

import json
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from attrs import evolve, frozen

from mesh_refresh import Tokens
from mesh_refresh.cli.terminal.exit_codes import MEANINGS, REFRESH, Exit, code_of_refresh
from mesh_refresh.testing import FakeMesh, Fault
from tests.cli.conftest import Cli, held

DOCS = Path(__file__).parents[3] / "docs" / "command-line.md"


@frozen
class Fate:
    """What becomes of one account, and the exit code that tells of it."""

    make: Callable[[FakeMesh], Tokens]
    code: Exit
    is_sent: bool = True


def met(fault: Fault) -> Callable[[FakeMesh], Tokens]:
    def make(fake: FakeMesh) -> Tokens:
        login = fake.login("coinbase")
        fake.fail(fault, login=login, times=None)
        return login.token

    return make


def other_account(fake: FakeMesh) -> Tokens:
    return evolve(fake.login("etoro", accounts=2).token, account_id="other", mesh_account_id="other")


FATES = {
    "refreshed": Fate(lambda fake: fake.login("coinbase").token, Exit.REFRESHED),
    "no refresh token": Fate(lambda fake: fake.login("eTrade").token, Exit.INVALID, is_sent=False),
    "no access token": Fate(
        lambda fake: evolve(fake.login("weBull").token, access_token=None), Exit.INVALID, is_sent=False
    ),
    "delayed": Fate(lambda fake: fake.delayed_login().token, Exit.TRY_AGAIN, is_sent=False),
    "throttled": Fate(met(Fault.throttle()), Exit.TRY_AGAIN),
    "a code": Fate(lambda fake: fake.login("vanguard", mfa=True).token, Exit.CODE_NEEDED),
    "forbidden": Fate(met(Fault.status(403)), Exit.KEYS_REFUSED),
    "rejected": Fate(met(Fault.missing_field()), Exit.REJECTED),
    "refused": Fate(met(Fault.refuse()), Exit.RECONNECT),
    "unknown": Fate(met(Fault.cut()), Exit.UNKNOWN),
    "of another account": Fate(other_account, Exit.NOT_IN_REPLY),
    "unreadable": Fate(met(Fault.broken_json()), Exit.UNREADABLE),
}


@pytest.mark.parametrize("names", [*combinations(FATES, 1), *combinations(FATES, 2)], ids=" + ".join)
def test_the_worst_counts_and_says_what_is_true(cli: Cli, names: tuple[str, ...]) -> None:
    fake, fates = cli.served.fake, [FATES[name] for name in names]
    before = [fate.make(fake) for fate in fates]
    lacking = fake.lost(before)
    ran = cli("refresh", cli.documents(*before), "-o", "out.json", "--max-requests", "1", "--no-prompt")
    sent = any(fate.is_sent for fate in fates)
    assert ran.code == max(Exit.REJECTED if sent and it.code is Exit.INVALID else it.code for it in fates)
    assert bool(fake.requests) == sent
    if ran.code == Exit.INVALID:
        assert not fake.requests, "2 says that nothing was sent"
    if ran.code == Exit.TRY_AGAIN:
        after = held(json.loads(Path("out.json").read_text())) if Path("out.json").exists() else before
        assert fake.lost(after) == lacking, "3 says that the others are as they were"
    for body in cli.folder.glob("*.body"):
        fake.hold_body(body.read_bytes())
        assert body.name in ran.err.splitlines()[-1]
    if Path("out.json").exists():
        fake.hold_tokens(held(json.loads(Path("out.json").read_text())))
    fake.hold_tokens(before if not sent else ())
    assert not [lost for lost in fake.lost() if lost.broker != "interactiveBrokers"]


def test_two_is_kept_for_where_nothing_was_sent() -> None:
    assert code_of_refresh([Exit.INVALID, Exit.INVALID], any_sent=False) == Exit.INVALID
    assert code_of_refresh([Exit.INVALID, Exit.REFRESHED], any_sent=True) == Exit.REJECTED
    assert code_of_refresh([], any_sent=False) == Exit.REFRESHED


def test_help_and_docs_have_the_same_codes() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|(.*?)\|", DOCS.read_text(), re.MULTILINE)
    told = {int(code) for codes, of_refresh in rows if of_refresh.strip() for code in codes.split(",")}
    meant = {code for code, words in MEANINGS.items() if REFRESH in words}
    assert told == meant | {Exit.HUNG_UP, Exit.TERMINATED}
