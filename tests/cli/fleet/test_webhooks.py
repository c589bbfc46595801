"""`mesh-refresh webhooks`: what waits and what is dead is listed, and resent; a secret is made."""

import io
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from attrs import evolve
from standardwebhooks import Webhook

from mesh_refresh.cli import main
from mesh_refresh.cli.fleet.support.webhook_option import make_webhooks
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.keeper.notices import Notice, NoticeKind, seal_notice
from mesh_refresh.service import Webhooks
from mesh_refresh.stores import Cipher, NoticeRow
from mesh_refresh.stores.sqlite import SqliteStore
from tests.cli.fleet.conftest import OpenFleet
from tests.service.notices import SECRET, Receiver

pytestmark = pytest.mark.once

NOW = datetime.now(UTC)


def row(
    key: str, name: str, kind: NoticeKind = NoticeKind.RECOVERED, *, days: int = 0, dead: bool = False
) -> NoticeRow:
    at = NOW - timedelta(days=days)
    sealed = seal_notice(Cipher([key]), Notice(name, kind, f"login-of-{name}", "account-1", "coinbase", at, 1))
    return evolve(sealed, is_dead=dead, tries=7 if dead else 0, first_tried_at=at if dead else None)


def put(fleet: OpenFleet, *rows: NoticeRow) -> None:
    async def write(store: SqliteStore) -> None:
        await store.outbox.put(rows)

    fleet("migrate")
    fleet.store(write)


def kept(fleet: OpenFleet) -> dict[str, bool]:
    """Whether each notice in the store is dead."""

    async def read(store: SqliteStore) -> Sequence[NoticeRow]:
        return [it for name in "abcde" for it in await store.outbox.of(f"login-of-{name}")]

    return {it.id: it.is_dead for it in fleet.store(read)}


@pytest.fixture
def mixed(fleet: OpenFleet) -> OpenFleet:
    put(
        fleet,
        row(fleet.key, "a", NoticeKind.MFA_NEEDED),
        row(fleet.key, "b", dead=True),
        row(fleet.key, "c", NoticeKind.RECONNECT_REQUIRED, days=5, dead=True),
        row(fleet.key, "d", days=5),
    )
    return fleet


def test_a_new_secret_is_printed(fleet: OpenFleet) -> None:
    ran = fleet("webhooks", "secret")
    Webhooks("https://receiver.example", ran.out.removesuffix("\n"))
    assert ran.err == ""


def test_the_list(mixed: OpenFleet) -> None:
    ran = mixed("webhooks", "list")
    assert ran.code == 0
    head, *lines = [line.split() for line in ran.out.splitlines()]
    assert head == ["notice", "login", "kind", "state", "due", "tries", "written"]
    assert [line[:4] for line in lines] == [
        ["a", "login-of-a", "mfa_needed", "waiting"],
        ["b", "login-of-b", "recovered", "dead"],
        ["c", "login-of-c", "reconnect_required", "dead"],
        ["d", "login-of-d", "recovered", "waiting"],
    ]
    assert lines[1][4:6] == ["-", "7"]


def test_the_status_counts_them(mixed: OpenFleet) -> None:
    assert "Notices that were given up: 2. Next: mesh-refresh webhooks list --dead" in mixed("status").out
    assert json.loads(mixed("status", "--json").out)["notices"] == {"waiting": 2, "dead": 2}


def listed(fleet: OpenFleet, *options: str) -> list[str]:
    return [json.loads(line)["notice"] for line in fleet("webhooks", "list", "--json", *options).out.splitlines()]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], "abcd"),
        (["--dead"], "bc"),
        (["--dead", "--since", "1d"], "b"),
        (["--since", "2020-01-01T00:00:00Z"], "abcd"),
        (["--after", "b"], "cd"),
        (["--limit", "2"], "ab"),
        (["--after", "zz"], ""),
    ],
)
def test_the_list_is_filtered(mixed: OpenFleet, options: list[str], names: str) -> None:
    assert listed(mixed, *options) == [*names]


def test_the_list_is_read_page_by_page(fleet: OpenFleet) -> None:
    names = [f"n{number:04}" for number in range(1_203)]
    put(fleet, *[row(fleet.key, name) for name in names])
    assert listed(fleet) == names
    ran = fleet("webhooks", "list")
    assert len(ran.out.splitlines()) == 101
    assert ran.err == "mesh-refresh: there are more: --after n0099\n"


def test_nothing_to_list(fleet: OpenFleet) -> None:
    put(fleet)
    ran = fleet("webhooks", "list")
    assert (ran.code, ran.out, ran.err) == (0, "", "mesh-refresh: no notice matches.\n")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_these_keys_do_not_open_is_listed_without_its_kind(fleet: OpenFleet, options: list[str]) -> None:
    put(fleet, row(fleet.key, "a"), row(Cipher.generate_key(), "b"))
    ran = fleet("webhooks", "list", *options)
    assert ran.code == Exit.STORE
    assert "login-of-b" in ran.out
    assert "1 notice cannot be opened with these keys" in ran.err


def test_the_document(mixed: OpenFleet) -> None:
    first, second, *_ = map(json.loads, mixed("webhooks", "list", "--json").out.splitlines())
    assert first == {
        "notice": "a",
        "login": "login-of-a",
        "kind": "mfa_needed",
        "state": "waiting",
        "due_at": NOW.isoformat(),
        "tries": 0,
        "first_tried_at": None,
        "written_at": NOW.isoformat(),
        "opened": True,
    }
    assert (second["state"], second["tries"], second["first_tried_at"]) == ("dead", 7, NOW.isoformat())


def test_one_is_resent(mixed: OpenFleet) -> None:
    ran = mixed("webhooks", "resend", "b")
    assert ran.code == 0
    assert ran.err == "mesh-refresh: 1 notice will be delivered again, by a worker with --webhook.\n"
    assert kept(mixed) == {"a": False, "b": False, "c": True, "d": False}


def test_all_dead_ones_are_resent(mixed: OpenFleet) -> None:
    assert mixed("webhooks", "resend", "--dead", "--yes").code == 0
    assert not any(kept(mixed).values())
    assert "0 notices will be delivered" in mixed("webhooks", "resend", "--dead").err


def test_those_since_then_are_resent(mixed: OpenFleet) -> None:
    assert mixed("webhooks", "resend", "--dead", "--since", "1d").code == 0
    assert kept(mixed) == {"a": False, "b": False, "c": True, "d": False}


def test_they_are_resent_in_the_order_in_which_they_were_written(fleet: OpenFleet) -> None:
    """Their ids have another order."""
    rows = [
        evolve(row(fleet.key, name, days=days, dead=True), login_id="login-of-a") for days, name in enumerate("abc")
    ]
    put(fleet, *rows)
    fleet("webhooks", "resend", "--dead")

    async def read(store: SqliteStore) -> list[str]:
        return [it.id for it in await store.outbox.of("login-of-a")]

    assert fleet.store(read) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Name notices by their ids, or all dead ones with --dead"),
        (["--since", "1d"], "Name notices by their ids, or all dead ones with --dead"),
        (["b", "--dead"], "Name notices by their ids, or all dead ones with --dead"),
        (["b", "--since", "1d"], "Name notices by their ids, or all dead ones with --dead"),
        (["--dead", "--since", "yesterday"], "--since"),
        (["b", "a"], "a is no dead notice. Nothing was resent"),
        (["b", "x\x1b[2J"], "x [2J is no dead notice"),
    ],
)
def test_a_wrong_resend_changes_nothing(mixed: OpenFleet, arguments: list[str], says: str) -> None:
    before = kept(mixed)
    ran = mixed("webhooks", "resend", *arguments)
    assert ran.code == Exit.INVALID
    assert says in ran.err
    assert kept(mixed) == before


class Terminal(io.StringIO):
    """A person at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "code", "is_dead"), [("n", Exit.INTERRUPTED, True), ("y", Exit.REFRESHED, False)])
def test_at_a_terminal_it_asks_first(
    mixed: OpenFleet, monkeypatch: pytest.MonkeyPatch, typed: str, code: Exit, is_dead: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(f"{typed}\n"))
    monkeypatch.setattr(sys, "argv", ["mesh-refresh", "webhooks", "resend", "--dead"])
    assert main() == code
    assert kept(mixed)["b"] is is_dead


@pytest.fixture
def receiver(fleet: OpenFleet) -> Iterator[Receiver]:
    """One that runs beside the command."""
    served = fleet.cli.served
    found = Receiver()
    served.wait(found.__aenter__())
    yield found
    served.wait(found.__aexit__())


def test_a_receiver_is_tried(fleet: OpenFleet, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    make(monkeypatch, SECRET=SECRET)
    assert fleet("webhooks", "test", "--webhook", receiver.url).err == "mesh-refresh: the receiver took it.\n"
    receiver.answer = lambda _: web.Response(status=404)
    ran = fleet("webhooks", "test", "--webhook", receiver.url)
    assert ran.code == Exit.FAILED
    assert ran.err == "mesh-refresh: the receiver did not take it: HTTP 404\n"
    assert "Name the receiver with --webhook" in fleet("webhooks", "test").err
    assert len(receiver.seen) == 2


def test_a_worker_posts_what_it_has_to_tell(
    fleet: OpenFleet, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed, and taken: nothing of it is left."""
    make(monkeypatch, SECRET=SECRET)
    fleet.add("user-7", "vanguard", mfa=True)
    came = threading.Event()

    def answer(_: web.Request) -> web.Response:
        came.set()
        return web.Response()

    receiver.answer = answer
    with fleet.start("--webhook", receiver.url) as worker:
        assert came.wait(60)
        worker.terminate()
        assert "team=fake" not in worker.communicate()[1]
    ((headers, body),) = receiver.seen
    document = Webhook(SECRET).verify(body, headers)
    assert (document["type"], document["data"]["loginId"]) == ("login.mfa_needed", "user-7")
    pending = fleet.account("user-7").pending
    assert pending is not None
    assert document["data"]["pendingId"] == pending.id
    assert listed(fleet) == []


def make(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name in ("SECRET", "SECRET_FILE"):
        monkeypatch.delenv(f"MESH_REFRESH_WEBHOOK_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(f"MESH_REFRESH_WEBHOOK_{name}", value)


@pytest.mark.parametrize(
    ("url", "variables", "says"),
    [
        ("https://receiver.example/?hunter2", {}, "--webhook needs a secret"),
        ("https://receiver.example/?hunter2", {"SECRET": "hunter2"}, "--webhook: The webhook secret is not one"),
        ("http://receiver.example/?hunter2", {"SECRET": SECRET}, "--webhook: Plain http to receiver.example"),
        ("https://me:hunter2@receiver.example/", {"SECRET": SECRET}, "--webhook: The webhook URL must have no user"),
        ("https://receiver.example/", {"SECRET": SECRET, "SECRET_FILE": "hunter2"}, "are both set"),
        ("https://receiver.example/", {"SECRET_FILE": "/nowhere/hunter2"}, "WEBHOOK_SECRET_FILE cannot be read"),
    ],
)
def test_a_wrong_url_or_secret_is_one_line_that_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str], says: str
) -> None:
    make(monkeypatch, **variables)
    with pytest.raises(Failure, match=says) as raised:
        make_webhooks(url)
    assert "hunter2" not in str(raised.value)
    assert "MfKQ" not in str(raised.value)


def test_a_worker_with_a_wrong_url_does_not_start(fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.add("user-7")
    make(monkeypatch, SECRET=SECRET)
    ran = fleet("run", "--once", "--webhook", "http://receiver.example/?hunter2")
    assert ran.code == Exit.INVALID
    assert ran.err.startswith("mesh-refresh: --webhook: Plain http")
    assert ran.err.count("\n") == 1
    assert "hunter2" not in ran.err
    assert not fleet.fake.requests


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_secret_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str) -> None:
    (tmp_path / "secret").write_text(SECRET + end)
    make(monkeypatch, SECRET_FILE=str(tmp_path / "secret"))
    assert make_webhooks("https://receiver.example/") is not None


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"whsec_short\n"])
def test_a_file_without_a_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    make(monkeypatch, SECRET_FILE=str(tmp_path / "secret"))
    with pytest.raises(Failure, match="secret"):
        make_webhooks("https://receiver.example/")


def test_without_a_url_no_secret_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    make(monkeypatch, SECRET="no secret")
    assert make_webhooks(None) is None
