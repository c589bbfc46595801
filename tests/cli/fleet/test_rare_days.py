"""`pause`, `resume`, `remove`, `salvage` and `key`."""

import json
import re
import sys
from pathlib import Path

import pytest
from attrs import evolve

from mesh_refresh import Tokens
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.stores import Cipher
from mesh_refresh.testing import FakeLogin, Fault
from tests.cli.conftest import mode
from tests.cli.fleet.conftest import OpenFleet
from tests.cli.test_codes import person

pytestmark = pytest.mark.once

# Pausing.


def test_a_paused_broker_is_not_refreshed_until_it_is_resumed(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    fleet.add("user-8", "etoro")
    assert fleet("pause", "coinbase").err == "mesh-refresh: paused: coinbase.\n"
    fleet.once("-q")
    assert fleet.fake.exchanges["succeeded"] == 1
    assert {it["login"] for it in fleet.listed() if it["refreshed_at"]} == {"user-8"}
    assert fleet("resume", "coinbase").code == 0
    assert fleet.once("-q").code == 0
    assert not fleet.lost()


def paused(fleet: OpenFleet) -> list[str]:
    found: list[str] = json.loads(fleet("status", "--json").out)["paused"]
    return found


def test_a_pause_of_all_is_ended_by_resuming_all_and_by_nothing_else(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    assert fleet("pause", "--all").code == 0
    ran = fleet("resume", "coinbase")
    assert "stay paused together until `mesh-refresh resume --all`" in ran.err
    fleet.once("-q")
    assert not fleet.fake.requests
    assert fleet("resume", "--all").err == "mesh-refresh: resumed: all brokers.\n"
    assert paused(fleet) == []
    assert fleet.once().code == 0


def test_the_pauses_of_single_brokers_outlive_that_of_all(fleet: OpenFleet) -> None:
    """They were paused for a reason of their own. What is left is named."""
    fleet.add("user-7")
    fleet.add("user-8", "etoro")
    fleet("pause", "--all")
    fleet("pause", "etoro", "kraken")
    ran = fleet("resume", "--all")
    assert ran.code == 0
    assert "resumed: all brokers." in ran.err
    assert "still paused by name: etoro, kraken." in ran.err
    assert paused(fleet) == ["etoro", "kraken"]
    fleet.once("-q")
    assert {it["login"] for it in fleet.listed() if it["refreshed_at"]} == {"user-7"}
    ran = fleet("resume", "etoro")
    assert "still paused by name: kraken." in ran.err
    assert "still paused" not in fleet("resume", "kraken").err


def test_a_fleet_is_let_go_broker_by_broker(fleet: OpenFleet) -> None:
    """As a backup is restored: nothing is sent in between."""
    for name, broker in {"user-7": "coinbase", "user-8": "etoro", "user-9": "kraken"}.items():
        fleet.add(name, broker)
    fleet("pause", "--all")
    assert fleet("pause", "--each").err == "mesh-refresh: paused: coinbase, etoro, kraken.\n"
    assert paused(fleet) == ["*", "coinbase", "etoro", "kraken"]
    fleet("resume", "--all")
    assert paused(fleet) == ["coinbase", "etoro", "kraken"]
    fleet.once("-q")
    assert not fleet.fake.requests
    fleet("resume", "etoro")
    fleet.once("-q")
    assert {it["login"] for it in fleet.listed() if it["refreshed_at"]} == {"user-8"}


def test_every_pause_can_be_ended_at_once(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    assert "no broker was paused by name" in fleet("resume", "--each").err
    fleet("pause", "--all", "--each")
    fleet("pause", "etoro")
    ran = fleet("resume", "--each")
    assert "resumed: coinbase, etoro." in ran.err
    assert "all brokers stay paused together" in ran.err
    assert paused(fleet) == ["*"]
    fleet("pause", "--each")
    assert fleet("resume", "--all", "--each").err == "mesh-refresh: resumed: all brokers, coinbase.\n"
    assert paused(fleet) == []


def test_there_may_be_no_broker_to_pause(fleet: OpenFleet) -> None:
    fleet("import", "-", stdin="")
    assert "the store has no logins" in fleet("pause", "--each").err


def test_a_broker_that_the_store_does_not_have_is_remarked_on(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    assert "the store has no login of coinbse" in fleet("pause", "coinbse").err


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_it_must_be_said_what(fleet: OpenFleet, command: str) -> None:
    fleet.add("user-7")
    assert fleet(command).code == Exit.INVALID
    assert fleet(command, "coinbase", "--all").code == Exit.INVALID
    assert fleet(command, "coinbase", "--each").code == Exit.INVALID
    assert json.loads(fleet("status", "--json").out)["paused"] == []


# Removing.


def test_a_login_is_forgotten(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    fleet.add("user-8")
    assert fleet("remove", "user-7", "--yes").code == 0
    assert set(fleet.states()) == {"user-8"}
    assert fleet("remove", "user-7", "--yes").code == Exit.INVALID


def test_without_a_terminal_it_must_be_said(fleet: OpenFleet) -> None:
    """A script whose standard input is something else removes nothing."""
    fleet.add("user-7")
    for answer in ("", "y\n"):
        ran = fleet("remove", "user-7", stdin=answer)
        assert ran.code == Exit.INVALID
        assert "nothing was removed. There is no terminal to ask at: give --yes." in ran.err
        assert "Delete user-7 (coinbase) and its tokens?" in ran.err
    with fleet.cli.start("remove", "user-7") as process:
        process.communicate(timeout=60)
        assert process.returncode == Exit.INVALID
    assert set(fleet.states()) == {"user-7"}


@pytest.mark.parametrize(("said", "left"), [("y", set[str]()), ("n", {"user-7"}), ("", {"user-7"})])
def test_a_person_is_asked_first(fleet: OpenFleet, said: str, left: set[str]) -> None:
    fleet.add("user-7")
    with person(fleet.cli, "remove", "user-7") as somebody:
        somebody.sees(r"Delete user-7 \(coinbase\) and its tokens\?")
        somebody.types(said)
        somebody.leaves()
        assert (somebody.process.returncode == 0) is (said == "y")
    assert set(fleet.states()) == left


def test_a_person_need_not_be_asked(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    with person(fleet.cli, "remove", "user-7", "--yes") as somebody:
        somebody.leaves()
        assert somebody.process.returncode == 0
    assert not fleet.states()


# Salvaging.


@pytest.fixture
def odd(fleet: OpenFleet) -> FakeLogin:
    """A login whose reply was broken JSON, with the new pair in it."""
    login = fleet.add("user-7")
    fleet.fake.fail(Fault.all()["broken json"])
    assert fleet.once("-q").code == Exit.UNREADABLE
    return login


def test_the_body_goes_to_a_file_of_its_own(fleet: OpenFleet, odd: FakeLogin) -> None:
    ran = fleet("salvage", "user-7", "--output", "body")
    assert ran.code == 0
    assert ran.out == ""
    body = Path("body").read_bytes()
    assert mode(Path("body")) == 0o600
    assert body == fleet.account("user-7").body
    live = odd.live[0].refresh_token
    assert live is not None
    assert live.encode() in body
    assert "to import a token from it" in ran.err


def test_what_is_found_goes_back_by_an_import(fleet: OpenFleet, odd: FakeLogin) -> None:
    """As the help says it."""
    live = odd.live[0].refresh_token
    document = {"login": "user-7", "tokens": [Tokens("coinbase", live).to_document()]}
    assert fleet("import", "-q", "-", stdin=json.dumps(document)).code == 0
    assert fleet.once("-q").code == 0
    assert fleet.states() == {"user-7": "active"}
    assert not fleet.lost()


def test_the_body_is_shown_only_where_that_is_asked_for(fleet: OpenFleet, odd: FakeLogin) -> None:
    ran = fleet("salvage", "user-7")
    assert ran.code == 0
    assert ran.out == ""
    assert "bytes came on 20" in ran.err
    assert fleet("salvage", "user-7", "--show", secret=True).out.encode() == fleet.account("user-7").body
    assert fleet("salvage", "user-7", "--show", "-o", "body").code == Exit.INVALID


def test_a_body_on_a_terminal_steers_nothing(fleet: OpenFleet) -> None:
    """It is of a server; elsewhere it is shown to the byte."""
    fleet.add("user-7")
    fleet.fake.fail(Fault.status(200, b'{"refreshToken": "fake-\x1b[2J\xff\xe2\x80\xae'))
    assert fleet.once("-q").code == Exit.UNREADABLE
    assert b"\x1b[2J\xff" in (fleet.account("user-7").body or b"")
    fleet.cli.monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = fleet("salvage", "user-7", "--show", secret=True).out
    assert shown == '{"refreshToken": "fake-\\x1b[2J\\xff\\u202e\n'


def test_a_reply_that_is_another_persons_says_so(fleet: OpenFleet) -> None:
    """A proxy has answered with what was meant for somebody else; its bytes can be brought out too."""
    body = (
        b'{"status":"ok","content":{"brokerAccountTokens":[{"account":{"accountId":"theirs"},"accessToken":"fake-a"}]}}'
    )
    fleet.add("user-7", named=True)
    fleet.fake.fail(Fault.status(200, body))
    assert fleet.once("-q").code == Exit.UNREADABLE
    ran = fleet("salvage", "user-7")
    assert "names only accounts that this login does not have" in ran.err
    assert "is active now" not in ran.err
    assert fleet("salvage", "user-7", "--show", secret=True).out.encode() == body


def test_what_is_kept_of_an_account_that_goes_on(fleet: OpenFleet) -> None:
    """It was woken by an access token from elsewhere, or renewed since."""
    fleet.add("user-7")
    fleet.fake.fail(Fault.all()["broken json"])
    assert fleet.once("-q").code == Exit.UNREADABLE
    old = fleet.account("user-7").tokens
    woken = evolve(old, access_token="fake-from-elsewhere").to_document()
    assert fleet("import", "-q", "-", stdin=json.dumps({"login": "user-7", "tokens": [woken]})).code == 0
    assert "the account is active now" in fleet("salvage", "user-7").err


def test_no_file_is_replaced(fleet: OpenFleet, odd: FakeLogin) -> None:
    Path("body").write_text("the only copy of something")
    for output in ("body", ".", "missing/body"):
        ran = fleet("salvage", "user-7", "-o", output)
        assert ran.code == Exit.INVALID
        assert "--output" in ran.err
    assert Path("body").read_text() == "the only copy of something"


def test_where_there_is_nothing_to_salvage(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    assert fleet("salvage", "user-7", "--show").code == Exit.INVALID
    assert fleet("salvage", "user-8", "--show").code == Exit.INVALID
    assert fleet("salvage", "user-7", "--account", "nobody", "--show").code == Exit.INVALID


# Keys.


def test_a_key_needs_nothing_and_opens_a_store(fleet: OpenFleet) -> None:
    for name in ("MESH_REFRESH_STORE", "MESH_REFRESH_KEYS", "MESH_CLIENT_ID", "MESH_CLIENT_SECRET"):
        fleet.cli.monkeypatch.delenv(name)
    one, other = fleet("key", "generate"), fleet("key", "generate")
    assert one.out != other.out
    assert one.err == ""
    assert Cipher([one.out.strip()]).open(Cipher([one.out.strip()]).seal("text")) == "text"


def test_a_fleet_is_sealed_anew_with_the_first_key(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    fleet.add("user-8")
    new = Cipher.generate_key()
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", f"{new},{fleet.key}")
    ran = fleet("key", "reseal")
    assert ran.code == 0
    assert "2 logins are sealed with the first key" in ran.err
    assert new not in ran.err
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", new)
    assert len(fleet.listed()) == 2
    assert fleet.once("-q").code == 0
    fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", fleet.key)
    assert fleet("status").code == Exit.STORE


@pytest.mark.parametrize("command", [("key",), ("key", "reseal")])
def test_keys_are_rotated_one_process_after_the_other_as_the_help_says(
    fleet: OpenFleet, command: tuple[str, ...]
) -> None:
    """Whoever is a step behind opens everything that whoever is a step ahead has sealed, and the other way about."""
    keys = {"OLD": fleet.key, "NEW": Cipher.generate_key()}
    text = fleet(*command, "--help").out
    steps = re.findall(r"MESH_REFRESH_KEYS=((?:OLD|NEW|,)+)|[.] (mesh-refresh key reseal)", text)
    assert steps == [("OLD,NEW", ""), ("NEW,OLD", ""), ("", "mesh-refresh key reseal"), ("NEW", "")]

    def process(names: str) -> None:
        fleet.cli.monkeypatch.setenv("MESH_REFRESH_KEYS", ",".join(keys[name] for name in names.split(",")))

    behind, number = "OLD", 0
    for ahead, reseal in steps:
        if reseal:
            assert fleet("key", "reseal").code == 0
            continue
        for writer, reader in ((ahead, behind), (behind, ahead)):
            process(writer)
            fleet.add(f"user-{number}")
            process(reader)
            number += 1
            assert len(fleet.listed()) == number, f"{reader} beside {writer}"
        behind = ahead
        process(ahead)


@pytest.mark.parametrize("page", ["command-line.md", "rotating-keys.md"])
def test_the_docs_rotate_keys_as_the_help_does(page: str) -> None:
    text = Path(__file__).parents[3].joinpath("docs", page).read_text()
    places = [text.index(step) for step in ("KEYS=OLD,NEW`", "KEYS=NEW,OLD`", "key reseal`, with", "KEYS=NEW`")]
    assert places == sorted(places)


def test_what_waits_in_the_spool_needs_its_key_still(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    assert "spool" not in fleet("key", "reseal").err
    Path("fleet.db.spool").mkdir()
    Path("fleet.db.spool/one.orphan").touch()  # set aside, and the last copy of something
    assert "1 file in the spool may be sealed with an older key" in fleet("key", "reseal").err


def test_plain_text_cannot_be_sealed_anew(fleet: OpenFleet) -> None:
    assert fleet("key", "reseal", "--plaintext").code == Exit.INVALID
