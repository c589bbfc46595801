"""What comes of a refresh: exit codes, and what is written."""

import json
from pathlib import Path

import pytest

from mesh_refresh.cli.terminal.exit_codes import MEANINGS, REFRESH, Exit
from mesh_refresh.testing import Fault, Replies, Sharing
from tests.cli.conftest import Cli, held, mode

FAULTS = {
    Exit.TRY_AGAIN: (Fault.throttle(), Fault.unavailable(1), Fault.status(409), Fault.status(423)),
    Exit.KEYS_REFUSED: (Fault.client_refused(), Fault.status(403)),
    Exit.REJECTED: (
        Fault.missing_field(),
        Fault.redirect(),
        Fault.html(400),
        Fault.status(404),
        Fault.status(451),
    ),
    Exit.RECONNECT: (Fault.refuse(), Fault.failed(), Fault.echo()),
    Exit.UNKNOWN: (
        Fault.server_error(),
        Fault.server_error(after_rotation=True),
        Fault.cut(),
        Fault.cut(after_rotation=True),
        Fault.html(200),
        Fault.without_token(),
    ),
}
UNREADABLE = (Fault.half_body(keep_pair=True), Fault.broken_json(), Fault.oversize(), Fault.error_with_token())


@pytest.mark.parametrize(
    ("code", "fault"), [pytest.param(code, fault, id=fault.name) for code, faults in FAULTS.items() for fault in faults]
)
def test_each_failure_has_its_code_and_writes_nothing(cli: Cli, code: Exit, fault: Fault) -> None:
    login = cli.served.fake.login("coinbase")
    cli.served.fake.fail(fault)
    ran = cli("refresh", cli.payload(login), "-o", "out.json", "--max-requests", "1")
    assert ran.code == code
    assert ran.out == ""
    assert not Path("out.json").exists()
    assert ran.err.startswith("mesh-refresh: coinbase: ")


@pytest.mark.parametrize("fault", UNREADABLE, ids=lambda fault: fault.name)
@pytest.mark.parametrize("output", ["out.json", None])
def test_an_unreadable_reply_is_kept_in_a_private_file(cli: Cli, fault: Fault, output: str | None) -> None:
    """The pair that is only in the body is not lost, though nobody can read it now."""
    login = cli.served.fake.login("coinbase")
    cli.served.fake.fail(fault)
    ran = cli("refresh", cli.payload(login), *(("-o", output) if output else ()))
    assert ran.code == Exit.UNREADABLE
    (kept,) = cli.folder.glob("*.body")
    assert str(kept) in ran.err
    assert mode(kept) == 0o600
    cli.served.fake.hold_body(kept.read_bytes())
    assert not cli.served.fake.lost()


def test_a_refreshed_account_is_written_to_standard_output(cli: Cli) -> None:
    login = cli.served.fake.login("coinbase")
    ran = cli("refresh", stdin=json.dumps(login.link_payload()))
    assert ran.code == Exit.REFRESHED
    assert held(ran.documents)[0].refresh_token == login.live[0].refresh_token
    assert ran.err == "mesh-refresh: coinbase: refreshed.\n"


def test_nobody_listening_is_worth_another_try(cli: Cli) -> None:
    login = cli.served.fake.login("coinbase")
    cli.served.wait(cli.served.fake.stop())
    assert cli("refresh", cli.payload(login), "--max-requests", "1").code == Exit.TRY_AGAIN


def test_the_highest_code_counts_and_successes_are_written(cli: Cli) -> None:
    fake = cli.served.fake
    good, throttled, revoked = fake.login("coinbase"), fake.login("gemini"), fake.login("kraken")
    revoked.revoke()
    fake.fail(Fault.throttle(), login=throttled, times=None)
    ran = cli("refresh", cli.payload(good, throttled, revoked), "--max-requests", "1")
    assert ran.code == Exit.RECONNECT
    fresh, kept, dead = held(ran.documents)
    assert fresh.refresh_token == good.live[0].refresh_token != good.token.refresh_token
    assert kept.refresh_token == throttled.token.refresh_token
    assert dead.refresh_token == revoked.token.refresh_token
    assert "1 of 3 accounts refreshed" in ran.err


def test_refused_keys_stop_the_run(cli: Cli) -> None:
    """Mesh is not asked a thousand times with keys that it refuses."""
    fake = cli.served.fake
    payload = cli.payload(*(fake.login("coinbase") for _ in range(60)))
    cli.monkeypatch.setenv("MESH_CLIENT_SECRET", "another")
    assert cli("refresh", payload).code == Exit.KEYS_REFUSED
    assert len(fake.requests) <= 20


def test_an_account_that_the_reply_leaves_out_is_told_of(cli: Cli) -> None:
    login = cli.served.fake.login("coinbase", accounts=2)
    document = login.token.to_document() | {"account_id": "other", "mesh_account_id": "other"}
    ran = cli("refresh", cli.write("tokens.json", document))
    assert ran.code == Exit.NOT_IN_REPLY
    assert [tokens.account_id for tokens in held(ran.documents)] == ["other", "acc-1", "acc-2"]
    assert not cli.served.fake.lost(held(ran.documents))


@pytest.mark.parametrize("sharing", Sharing)
@pytest.mark.parametrize("replies", Replies)
@pytest.mark.parametrize("times", [1, 3])
def test_accounts_of_one_login_spend_no_token_twice(cli: Cli, sharing: Sharing, replies: Replies, times: int) -> None:
    if (sharing, replies) == (Sharing.DIFFERENT_STRINGS, Replies.ASKED):
        pytest.skip("nobody can know that a sibling's token has died")
    fake = cli.served.fake
    login = fake.login("etoro", accounts=3, sharing=sharing, replies_with=replies, revokes_on_reuse=True)
    source = cli.payload(login)
    for _ in range(times):
        assert cli("refresh", source, "-o", "out.json", "--overwrite").code == Exit.REFRESHED
        source = cli.folder / "out.json"
    documents = json.loads(source.read_text())
    assert len(documents) == 3
    assert not fake.reuses
    assert not cli.served.lost(source)
    assert not {tokens.access_token for tokens in held(documents)} & {tokens.access_token for tokens in login.tokens}
    asked_for = 1 if replies is Replies.ALL else 3
    assert len(fake.requests) == asked_for * times


def test_two_logins_with_the_same_account_ids_keep_apart(cli: Cli) -> None:
    """Brokers number accounts as they like: only within a login do these ids say whose an entry is."""
    fake = cli.served.fake
    first, second = (fake.login("etoro", accounts=2) for _ in range(2))
    cli.served.fake.fail(Fault.throttle(), login=first, times=None)
    ran = cli("refresh", cli.payload(first, second), "-o", "out.json", "--max-requests", "1")
    assert ran.code == Exit.TRY_AGAIN
    assert not cli.served.lost(cli.folder / "out.json")
    assert len(json.loads(Path("out.json").read_text())) == 4


def test_refs_and_trade_tokens_come_through(cli: Cli) -> None:
    login = cli.served.fake.login("weBull", ref="user-7")
    ran = cli("refresh", cli.documents(login.token))
    (document,) = ran.documents
    assert document["ref"] == "user-7"
    assert document["trade_token"] == login.token.trade_token


def test_a_new_refresh_token_on_demand(cli: Cli) -> None:
    login = cli.served.fake.login("tdAmeritrade")
    ran = cli("refresh", cli.documents(login.token), "--new-refresh-token")
    assert held(ran.documents)[0].refresh_token not in (None, login.token.refresh_token)


def test_delayed_authentication_counts_from_when_the_file_was_written(cli: Cli) -> None:
    login = cli.served.fake.delayed_login()
    payload = cli.payload(login)
    assert cli("refresh", payload).code == Exit.TRY_AGAIN
    assert not cli.served.fake.requests
    ran = cli("refresh", payload, "--obtained-at", "2026-01-01T00:00:00+00:00", "--max-requests", "1")
    assert ran.code == Exit.RECONNECT, "sent; the fake refuses it, whose clock has not moved"


def test_a_second_run_on_a_spent_input_is_told_which_file_to_go_on_with(cli: Cli) -> None:
    """Sent again, with --overwrite, it could end the tokens that the first run brought."""
    login = cli.served.fake.login("coinbase", revokes_on_reuse=True)
    payload = cli.payload(login)
    assert cli("refresh", payload, "-o", "out.json").code == Exit.REFRESHED
    ran = cli("refresh", payload, "-o", "out.json")
    assert ran.code == Exit.INVALID
    assert "the tokens in the input are spent: use that file as the input too." in ran.err
    assert cli("refresh", "out.json", "-o", "out.json").code == Exit.REFRESHED
    assert not cli.served.fake.reuses


def test_every_code_is_explained_in_the_help(cli: Cli) -> None:
    text = " ".join(cli("refresh", "--help").out.split())
    meanings = {code: words[REFRESH] for code, words in MEANINGS.items() if REFRESH in words}
    for code, meaning in meanings.items():
        assert f" {code.value} {meaning}" in text
    elsewhere = {Exit.STORE, Exit.HUNG_UP, Exit.TERMINATED}  # it has no store, and 129 and 143 stand beside 130
    assert set(Exit) - set(meanings) == elsewhere
