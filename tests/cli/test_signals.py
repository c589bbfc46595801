"""Which signals end a command in order, and which do not."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.loop import Loop
from tests.cli.conftest import Cli

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

CRASHES = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP}
STAY = {signal.SIGCHLD, signal.SIGCONT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGURG, signal.SIGWINCH}
UNSEEN = {signal.SIGKILL, signal.SIGSTOP}


@contextmanager
def disposed(number: int, handler: signal.Handlers) -> Iterator[None]:
    """In here the process treats this signal as one that was just started does."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


async def nothing() -> None:
    return


@pytest.mark.parametrize("number", sorted(signal.valid_signals() - CRASHES - STAY - UNSEEN))
def test_every_signal_that_kills_ends_a_loop_in_order(number: int) -> None:
    """Between two calls at once, and after `closing` not at all. What was there before is there again."""
    ignored = number in (signal.SIGPIPE, getattr(signal, "SIGXFSZ", None))  # by Python
    with disposed(number, signal.SIG_DFL if not ignored else signal.SIG_IGN), Loop() as loop:
        if ignored:
            os.kill(os.getpid(), number)
            assert loop.received is None
            return
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert loop.received is not None
        assert loop.exit_code == {signal.SIGINT: 130, signal.SIGHUP: 129}.get(loop.received, 143)
        loop.closing()
        os.kill(os.getpid(), number)
        loop.run(nothing())


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    """`nohup` does that, and a shell for what runs in the background."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        with disposed(number, signal.SIG_IGN), Loop() as loop:
            os.kill(os.getpid(), number)
            loop.run(nothing())
            assert loop.received is None


def test_nohup(cli: Cli) -> None:
    login = cli.served.fake.login("coinbase")
    gate = cli.served.fake.hold(after_rotation=True)
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    with cli.start("refresh", cli.payload(login), "-o", "out.json", **ignoring) as process:
        cli.served.wait(gate.entered.wait())
        process.send_signal(signal.SIGHUP)
        cli.served.release(gate)
        process.communicate(timeout=90)
    assert process.returncode == Exit.REFRESHED
    assert not cli.served.lost(Path("out.json"))


def test_a_signal_on_the_way_into_the_loop_starts_nothing() -> None:
    """Raised there, it could leave the coroutine to run later."""
    begun = []

    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def begin() -> None:
        begun.append(1)

    with Loop() as loop:
        events = loop.run(running())

        def interrupting() -> object:
            os.kill(os.getpid(), signal.SIGTERM)
            return None

        events.call_soon(interrupting)  # before the task's first step
        with pytest.raises(KeyboardInterrupt):
            loop.run(begin())
        assert loop.received is signal.SIGTERM
    assert not begun


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux")
def test_a_terminal_that_is_gone_changes_no_exit_code(cli: Cli) -> None:
    """After a hangup nothing can be said any more. Python itself would end with 120."""
    payload = cli.payload(cli.served.fake.login("coinbase"))
    with Path("/dev/full").open("w") as full, cli.start("refresh", payload, "-o", "out.json", stderr=full) as process:
        process.communicate(timeout=90)
    assert process.returncode == Exit.REFRESHED
    assert not cli.served.lost(Path("out.json"))
