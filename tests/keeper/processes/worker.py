"""The program of a keeper process: ``python -m tests.keeper.processes.worker SETTINGS``.

It says on its standard output what happens, one JSON object a line and no secret in any, and takes orders on its
standard input: first an empty line, which lets it begin, then JSON objects. What is secret comes from the environment.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen

from mesh_refresh import MeshClient, MeshRefreshError, NotSaved, RetryPolicy, Tokens
from mesh_refresh.keeper import Event, Keeper, Notice, Policy
from mesh_refresh.stores import Cipher, Store, StoreUnavailable, key_ring
from tests.keeper.processes.measured import NotingClient, NotingTransport, noting_store, watch_commits
from tests.keeper.processes.traps import Snare, Trap, tell

CLIENT_ID, CLIENT_SECRET, KEY = "PROCESSES_CLIENT_ID", "PROCESSES_CLIENT_SECRET", "PROCESSES_KEY"
KEY_SEALS_AFTER = 1.5
"""Seconds, in place of ten minutes, for a process whose keys are in a file. More than until it sees a change."""
STORE = "PROCESSES_STORE"
"""The path of an SQLite file, or the URL of a PostgreSQL database, which may have a password in it."""
NOT_SAVED = 3
"""The exit code of a keeper that could not write everything."""


def _trap(value: "Trap | dict[str, Any] | None") -> Trap | None:
    return Trap(**value) if isinstance(value, dict) else value


@frozen
class Settings:
    """What a keeper process is told at its start."""

    name: str
    base_url: str
    policy: dict[str, Any]
    """The fields of `Policy`, lengths of time in seconds."""
    deadline: float
    busy: float = 0.3
    """How long a store that is locked, or does not answer, is waited for."""
    spool: str | None = None
    background: bool = True
    events: bool = True
    notices: bool = False
    """It has a handler of notices, which tells them too."""
    runs: bool = False
    """By `Keeper.run`, and not by ``async with``."""
    keys_file: str | None = None
    """The file with its keys, which may change."""
    trap: Trap | None = field(default=None, converter=_trap)


async def main(settings: Settings) -> None:
    tell("ready")
    orders, pipe = await standard_input()
    with closing(pipe):
        await orders.readline()
        await work(settings, orders)


async def work(settings: Settings, orders: asyncio.StreamReader) -> None:
    task = asyncio.current_task()
    assert task is not None
    # What a service does about SIGTERM. Ctrl-C is asyncio.run's own.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    snare = Snare(settings.trap)
    watch_commits(snare)
    async with client(settings, snare) as mesh, opened(settings, snare) as kept:
        keeper = Keeper(
            mesh,
            kept,
            policy=policy_of(settings.policy),
            on_event=told if settings.events else None,
            on_notice=noticed if settings.notices else None,
            background=settings.background,
            spool=settings.spool,
            role=None,  # a process that is stopped in the midst of its report holds the lock of an SQLite file
        )
        if settings.runs:
            tell("started")
            await keeper.run()
            return
        async with keeper:
            tell("started")
            try:
                await obey(keeper, orders)
            finally:
                tell("leaving")


def policy_of(values: dict[str, Any]) -> Policy:
    """Lengths of time are in seconds here."""
    usual = asdict(Policy(keep_alive=timedelta(1)))
    converted: dict[str, Any] = {
        name: timedelta(seconds=value) if isinstance(usual[name], timedelta) else value
        for name, value in values.items()
    }
    return Policy(**converted)


def client(settings: Settings, snare: Snare) -> MeshClient:
    return NotingClient(
        os.environ[CLIENT_ID],
        os.environ[CLIENT_SECRET],
        base_url=settings.base_url,
        retry=RetryPolicy(deadline=timedelta(seconds=settings.deadline)),
        transport=NotingTransport(settings.name, snare),
    )


def cipher_of(settings: Settings) -> Cipher:
    if settings.keys_file is None:
        return Cipher([os.environ[KEY]])
    key_ring.SEALS_AFTER = KEY_SEALS_AFTER
    return Cipher.from_file(settings.keys_file)


@asynccontextmanager
async def opened(settings: Settings, snare: Snare) -> AsyncIterator[Store]:
    """The store, as soon as it can be opened: what a supervisor does, who starts a process again and again."""
    while True:
        store = noting_store(
            os.environ[STORE], cipher_of(settings), patience=timedelta(seconds=settings.busy), snare=snare
        )
        try:
            await store.__aenter__()
        except StoreUnavailable as error:
            tell("waits", message=str(error))
            await asyncio.sleep(0.1)
        else:
            break
    try:
        yield store
    finally:
        await store.aclose()


async def standard_input() -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader, pipe


async def obey(keeper: Keeper, orders: asyncio.StreamReader) -> None:
    """Until told to end, or until whoever started this process is gone."""
    tasks: set[asyncio.Task[None]] = set()
    while line := await orders.readline():
        order = json.loads(line)
        if order["do"] == "end":
            return
        task = asyncio.create_task(answer(keeper, order))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def answer(keeper: Keeper, order: dict[str, Any]) -> None:
    try:
        result = await carry_out(keeper, order)
    except MeshRefreshError as error:
        reason = getattr(error, "reason", None)
        tell("answer", id=order["id"], error=type(error).__name__, reason=None if reason is None else str(reason))
    else:
        tell("answer", id=order["id"], error=None, result=result)


async def carry_out(keeper: Keeper, order: dict[str, Any]) -> object:
    wait = timedelta(seconds=order.get("wait", 20))
    match order["do"]:
        case "add":
            return await add(keeper, Path(order["path"]))
        case "add many":
            return await keeper.add_many(tokens_in(Path(order["path"])))
        case "tokens":
            await keeper.tokens(order["login"], max_wait=wait)
        case "refresh":
            await keeper.refresh(order["login"], max_wait=wait)
        case "code":
            await keeper.submit_mfa(order["login"], order["code"], max_wait=wait)
        case "restart":
            return str((await keeper.restart_mfa(order["login"], max_wait=wait)).state)
    return None


async def add(keeper: Keeper, path: Path) -> int:
    """A start-up that adds what Link once handed over: one login after the other."""
    changed = 0
    for login_id, tokens in tokens_in(path):
        done = await keeper.add(login_id, tokens)
        changed += done.changed
        tell("added", login=login_id)
    return changed


def tokens_in(path: Path) -> Iterator[tuple[str, list[Tokens]]]:
    for login_id, documents in read(path):
        yield login_id, [Tokens.from_json(document) for document in documents]


def read(path: Path) -> list[tuple[str, list[str]]]:
    return [(login_id, documents) for login_id, documents in json.loads(path.read_text())]


def told(event: Event) -> None:
    reason = getattr(event, "reason", None)
    tell("event", what=type(event).__name__, login=getattr(event, "login_id", None), reason=reason and str(reason))


async def noticed(notice: Notice) -> None:
    facts = {"login": notice.login_id, "account": notice.account_id, "sequence": notice.sequence}
    tell("notice", what=notice.kind.value, id=notice.id, **facts)


class Telling(logging.Handler):
    """What is logged goes the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        facts = {name: getattr(record, of, None) for name, of in (("error", "error"), ("login", "login_id"))}
        tell("log", level=record.levelname, message=record.getMessage(), **facts)


def run() -> int:
    logging.getLogger("mesh_refresh").addHandler(Telling(logging.WARNING))
    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        try:
            asyncio.run(main(Settings(**json.loads(sys.argv[1]))))
        except NotSaved:
            return NOT_SAVED
    return 0


if __name__ == "__main__":
    code = run()
    tell("over", code=code)
    sys.exit(code)
