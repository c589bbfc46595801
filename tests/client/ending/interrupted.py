"""A program of its own that refreshes one token, and that `test_interrupted` interrupts.

It takes a JSON document as its argument, says on standard output where it is, and does what it is told on standard
input. What its on_outcome saves goes to a file.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from mesh_refresh import MeshClient, RetryPolicy, SendOptions, Tokens
from tests.transport.transports import PlainTransport

TOLD = json.loads(sys.argv[1])
PHASE: str = TOLD["phase"]
FOREVER = timedelta(hours=1)


def say(word: str) -> None:
    os.write(1, f"{word}\n".encode())


def wait_for_word() -> None:
    """Until the parent writes a byte. For a thread: no signal and no loop ends it."""
    os.read(0, 1)


FILE = Path(TOLD["file"])


async def save(outcome: Any) -> None:
    say("saving")
    if PHASE == "in the hook":
        await asyncio.to_thread(wait_for_word)
    await asyncio.sleep(0)
    write(outcome)


def write(outcome: Any) -> None:
    FILE.write_text("\n".join(tokens.to_json() for tokens in outcome.all_tokens))


async def secret() -> str:
    if PHASE == "before connecting":
        say("here")
        await asyncio.Event().wait()
    return str(TOLD["secret"])


async def in_hand() -> None:
    if PHASE == "connection in hand":
        say("here")
        await asyncio.Event().wait()


def slow_look_up(*args: Any, **kwargs: Any) -> Any:
    say("here")
    wait_for_word()
    return look_up(*args, **kwargs)


async def no_connection(*_: object) -> None:
    say("here")
    await asyncio.Event().wait()


class Talking(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if "next attempt in" in record.getMessage():
            say("here")


def cancel_everything() -> None:
    for task in asyncio.all_tasks(asyncio.get_running_loop()):
        task.cancel()


async def refresh(mesh: MeshClient) -> None:
    try:
        await mesh.refresh(Tokens.from_json(TOLD["tokens"]), sending=SendOptions(before_send=in_hand))
    except asyncio.CancelledError:
        say("cancelled")
        raise
    say("refreshed")


def client() -> MeshClient:
    return MeshClient(
        TOLD["client_id"],
        secret,
        base_url=TOLD["base_url"],
        on_outcome=save,
        on_outcome_timeout=FOREVER,
        retry=RetryPolicy(deadline=FOREVER),
        transport=PlainTransport() if TOLD["transport"] == "plain" else None,
    )


async def main() -> None:
    if TOLD["handler"]:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, cancel_everything)
    if TOLD["early"]:
        task = asyncio.create_task(refresh(client()))
        await asyncio.to_thread(wait_for_word)
        assert not task.done()
    elif TOLD["stays_open"]:
        await refresh(client())
    else:
        async with client() as mesh:
            await refresh(mesh)


if __name__ == "__main__":
    logging.getLogger("mesh_refresh").addHandler(Talking())
    logging.getLogger("mesh_refresh").setLevel(logging.INFO)
    look_up = socket.getaddrinfo
    if PHASE == "looking up a name":
        socket.getaddrinfo = slow_look_up
    if PHASE == "connecting":
        asyncio.SelectorEventLoop.sock_connect = no_connection  # type: ignore[method-assign, assignment]
    factory = None
    if TOLD["loop"] == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
