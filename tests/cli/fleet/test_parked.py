"""`mesh-refresh prune` and `mesh-refresh retry`: what becomes of many parked logins at once."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import Tokens
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.keeper import AccountState, Reason
from mesh_refresh.keeper.bulk.prune import Prune
from mesh_refresh.keeper.rules.attempt import Attempt
from mesh_refresh.keeper.runtime.spool import Spool
from mesh_refresh.logins import Moving, Pending, Way
from mesh_refresh.stores import Cipher, Row, row_of
from mesh_refresh.stores.sqlite import SqliteStore
from tests.cli.fleet.conftest import OpenFleet
from tests.keeper.making import brought, changed, made, success

pytestmark = pytest.mark.once
DAY = timedelta(days=1)
LEASE = timedelta(minutes=3)
ASKED = Pending("question-1", "{}", datetime(2026, 1, 1, tzinfo=UTC))


def parked(fleet: OpenFleet, login_id: str, *, days: float = 100, ahead: timedelta = -DAY, **fields: Any) -> None:
    """A login of the store, all of whose accounts are refused since so long; or as the `fields` say."""
    now = datetime.now(UTC)
    moving = fields.pop("moving", None)
    given = {"state": AccountState.RECONNECT_REQUIRED, "reason": Reason.REFUSED, "due_at": None, **fields}

    async def write(store: SqliteStore) -> bool:
        login = await store.get(login_id)
        assert login is not None
        accounts = [evolve(account, **{"parked_at": now - days * DAY, **given}) for account in login.accounts]
        login = evolve(login, accounts=tuple(accounts), moving=moving)
        return await store.swap(row_of(store.cipher, login, now + ahead))

    assert fleet.store(write)


def left(fleet: OpenFleet) -> set[str]:
    return {it["login"] for it in fleet.listed()}


# Pruning.


def leased(fleet: OpenFleet, login_id: str, lease: timedelta) -> None:
    """A worker has it, or had it and died."""
    parked(fleet, login_id)
    assert isinstance(fleet.store(lambda store: store.claim_one(login_id, "worker", lease)), Row)


KEPT: dict[str, Callable[[OpenFleet, str], object]] = {
    "recent": lambda fleet, it: parked(fleet, it, days=80),
    "active": lambda _, __: None,
    "unreadable": lambda fleet, it: parked(fleet, it, state=AccountState.UNREADABLE, reason=Reason.UNREADABLE),
    "has a body": lambda fleet, it: parked(fleet, it, body=b"?"),
    "asks": lambda fleet, it: parked(fleet, it, state=AccountState.MFA_REQUIRED, pending=ASKED),
    "managed": lambda fleet, it: parked(fleet, it, state=AccountState.MANAGED, reason=None),
    "moved": lambda fleet, it: parked(fleet, it, moving=Moving(Way.MOVED, other="other")),
    "written ahead": lambda fleet, it: parked(fleet, it, ahead=DAY),
    "leased": lambda fleet, it: leased(fleet, it, LEASE),
    "open": lambda fleet, it: leased(fleet, it, timedelta(microseconds=1)),
}


def test_only_those_are_pruned_whose_people_have_not_come_back(fleet: OpenFleet) -> None:
    """A dry run first, which changes nothing; then all, and once more nothing."""
    for name, change in KEPT.items():
        fleet.add(name)
        change(fleet, name)
    for name in ("old", "older"):
        fleet.add(name, "etoro", accounts=2)
        parked(fleet, name, days=91)
    before = fleet.file.read_bytes()
    dry = fleet("prune", "--parked-before", "90d")
    assert (dry.code, fleet.file.read_bytes()) == (0, before)
    listed = {line.split("  ")[0] for line in dry.out.splitlines()}
    assert listed == {"old", "older", "leased", "open"}, "a dry run takes no lease, and so does not see one"
    assert "4 logins parked before" in dry.err
    assert "Nothing was changed" in dry.err
    ran = fleet("prune", "--parked-before", "90d", "--yes")
    assert (ran.code, ran.out) == (0, "")
    assert "2 logins removed; 2 left, in use or changed meanwhile." in ran.err
    assert left(fleet) == KEPT.keys()
    assert "0 logins removed" in fleet("prune", "--parked-before", "90d", "--yes").err


def test_a_login_of_several_accounts_goes_only_with_all_of_them(fleet: OpenFleet) -> None:
    fleet.add("two", "etoro", accounts=2)

    async def write(store: SqliteStore) -> bool:
        login = await store.get("two")
        assert login is not None
        long_ago = datetime.now(UTC) - 100 * DAY
        old = evolve(login.accounts[0], state=AccountState.RECONNECT_REQUIRED, parked_at=long_ago)
        return await store.swap(row_of(store.cipher, login.having((old, login.accounts[1])), long_ago))

    assert fleet.store(write)
    assert "0 logins removed" in fleet("prune", "--parked-before", "90d", "--yes").err
    assert left(fleet) == {"two"}


async def test_a_login_that_is_made_anew_meanwhile_stays(tmp_path: Path) -> None:
    """Between the look under the lease and the removal. The lease is given back."""
    now = datetime.now(UTC)
    async with SqliteStore.open(tmp_path / "fleet.db", cipher=Cipher([Cipher.generate_key()])) as store:
        login = changed(made(), state=AccountState.RECONNECT_REQUIRED, parked_at=now - 100 * DAY, due_at=None)
        assert await store.insert(row_of(store.cipher, login, now - DAY))

        found = await store.get("user-7")
        assert found is not None
        delete = store.delete

        async def late(login_id: str, *, seen: Row | None = None) -> bool:
            row = await store.read(login_id)
            assert row is not None
            assert await store.swap(row)  # the person's new tokens
            return await delete(login_id, seen=seen)

        store.delete = late  # type: ignore[method-assign]
        assert await Prune(now - 90 * DAY, now, lambda _: False).apply(store, found) is False
        assert await store.read("user-7") is not None
        assert isinstance(await store.claim_one("user-7", "me", LEASE), Row)
        store.delete = delete  # type: ignore[method-assign]


def test_what_the_spool_has_tokens_of_is_not_pruned(fleet: OpenFleet) -> None:
    """Nor anything where a file of the spool may be of any login."""
    fleet.add("user-7")
    fleet.add("user-8")
    for name in ("user-7", "user-8"):
        parked(fleet, name)
    login = fleet.login("user-7")
    attempt = Attempt.of(login, login.accounts[0], datetime.now(UTC))
    spool = Spool("fleet.db.spool", Cipher([fleet.key]))
    asyncio.run(spool.write(attempt, success(brought(Tokens("coinbase", "fake-r", access_token="fake-a")))))
    other = Path("fleet.db.spool/other.orphan")
    other.write_bytes(Cipher([Cipher.generate_key()]).seal("something", "spool"))
    ran = fleet("prune", "--parked-before", "90d", "--yes")
    assert (ran.code, ran.err.count("\n")) == (Exit.STORE, 1)
    assert "other.orphan of the spool does not open" in ran.err
    other.unlink()
    assert "1 login removed." in fleet("prune", "--parked-before", "90d", "--yes").err
    assert left(fleet) == {"user-7"}


# Retrying.


def retry(fleet: OpenFleet, *options: str, reason: str = "refused") -> str:
    ran = fleet("retry", "--broker", "coinbase", "--reason", reason, *options)
    assert ran.code == 0, ran.err
    return ran.out + ran.err


def test_refused_logins_are_due_again_evenly_over_the_time(fleet: OpenFleet) -> None:
    """Those of the broker and the reason alone; once, and not without ``--yes``."""
    for number in range(4):
        fleet.add(f"user-{number}")
        parked(fleet, f"user-{number}")
    fleet.add("elsewhere", "etoro")
    parked(fleet, "elsewhere")
    others: dict[str, dict[str, Any]] = {
        "spent": {"reason": Reason.UNKNOWN},
        "kept": {"body": b"?"},
        "old": {"days": 300},
    }
    for name, fields in others.items():
        fleet.add(name)
        parked(fleet, name, **fields)
    before = fleet.file.read_bytes()
    dry = retry(fleet, "--parked-since", "200d")
    assert fleet.file.read_bytes() == before
    assert [line.split()[0] for line in dry.splitlines()[:-1]] == [f"user-{number}" for number in range(4)]
    assert "4 logins to retry, evenly over 60 min. Nothing was changed" in dry
    began = datetime.now(UTC)
    done = retry(fleet, "--parked-since", "200d", "--spread", "2h", "--yes")
    assert "4 logins due again, evenly over 2 h, for a worker." in done
    due = [fleet.account(f"user-{number}").due_at for number in range(4)]
    minutes = [round((at - began) / timedelta(minutes=1)) for at in due if at is not None]
    assert minutes == [0, 30, 60, 90]
    assert {name for name, state in fleet.states().items() if state == "active"} == {f"user-{it}" for it in range(4)}
    assert "0 logins due again" in retry(fleet, "--parked-since", "200d", "--yes")


def test_a_retried_login_is_refreshed_or_parked_as_before(fleet: OpenFleet) -> None:
    """No notice says that it works before it does; a second one does not repeat what was said."""
    fleet.add("bad").revoke()
    assert fleet.once("-q", "--confirm-after", "0s").code == Exit.TRY_AGAIN
    assert fleet.once("-q", "--confirm-after", "0s").code == Exit.RECONNECT
    fleet.add("good")
    parked(fleet, "good", announced="reconnect_required")

    def told() -> list[str]:
        out = fleet("webhooks", "list", "--json").out
        return sorted(line.split('"login": "')[1].split('"')[0] for line in out.splitlines())

    before = told()
    retry(fleet, "--yes", "--spread", "0s")
    assert told() == before
    for code in (Exit.TRY_AGAIN, Exit.RECONNECT):
        assert fleet.once("-q", "--confirm-after", "0s").code == code
    assert fleet.states() == {"good": "active", "bad": "reconnect_required"}
    assert fleet.account("good").reason is None
    assert told() == sorted([*before, "good"])


def test_a_pause_holds_and_is_said(fleet: OpenFleet) -> None:
    fleet.add("user-7")
    parked(fleet, "user-7")
    assert fleet("pause", "coinbase").code == 0
    assert "note: coinbase is paused" in retry(fleet, "--yes", "--spread", "0s")
    sent = len(fleet.fake.requests)
    fleet.once("-q")
    assert len(fleet.fake.requests) == sent
    assert (
        "note: the store has no login of coinbasse."
        in fleet("retry", "--broker", "coinbasse", "--reason", "refused").err
    )


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["prune"], "Missing option '--parked-before'"),
        (["prune", "--parked-before", "soon"], "Write a time such as"),
        (["prune", "--parked-before", "-1d", "--yes"], "Write a time such as"),
        (["prune", "--parked-before", "2999-01-01T00:00:00+00:00", "--yes"], "must be a time in the past"),
        (["retry", "--reason", "refused"], "Missing option '--broker'"),
        (["retry", "--broker", "x", "--reason", "refused_after_sibling", "--yes"], "never retried: its tokens were"),
        (["retry", "--broker", "coinbase"], "Missing option '--reason'"),
        (["retry", "--broker", "*", "--reason", "refused", "--yes"], "--broker takes the name of one broker"),
        (["retry", "--broker", " ", "--reason", "refused", "--yes"], "--broker takes the name of one broker"),
        (["retry", "--broker", "x", "--reason", "bad", "--yes"], "Invalid value for '--reason'"),
        (
            ["retry", "--broker", "x", "--reason", "unknown", "--yes"],
            "never retried: its tokens",
        ),
        (["retry", "--broker", "x", "--reason", "expired", "--yes"], "never retried: its access token has ended"),
        (["retry", "--broker", "x", "--reason", "refused", "--spread", "soon"], "Write a span of time"),
        (["retry", "--broker", "x", "--reason", "refused", "--spread", "9999d"], "--spread takes 365d at the most"),
        (["retry", "--broker", "x", "--reason", "refused", "--parked-since", "2999-01-01T00:00:00Z"], "in the past"),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else "",
)
def test_what_cannot_be_done_is_said_in_one_line(fleet: OpenFleet, command: list[str], says: str) -> None:
    ran = fleet(*command)
    assert (ran.code, ran.out) == (Exit.INVALID, "")
    assert says in ran.err.splitlines()[-1]
    assert not fleet.file.exists()
