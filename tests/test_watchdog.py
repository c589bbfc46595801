"""The tests' own watchdog: a hang is told by no progress, not by a clock on the wall."""

import asyncio
import itertools
from typing import Any

import pytest

from tests.client.ending.stepping import Hangs, watchdog
from tests.watchdog import Patience, watched

OFTEN = 0.001


def patience() -> Patience:
    return Patience(idle_looks=20, most_looks=2000)


async def waits_for_nothing() -> None:
    await asyncio.Event().wait()


async def does_not_end_when_cancelled() -> None:
    for _ in range(5):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


@pytest.mark.parametrize("story", [waits_for_nothing, does_not_end_when_cancelled])
async def test_hang_fails(story: Any) -> None:
    """A test that waits for what never comes fails."""
    with pytest.raises(pytest.fail.Exception, match="it hangs: 20 looks without progress"):
        await watched(story, patience, OFTEN)()


async def test_busy_for_ever_fails() -> None:
    """A test that turns in circles fails, later."""

    async def circles() -> None:
        for _ in itertools.repeat(None):
            await asyncio.sleep(0)

    with pytest.raises(pytest.fail.Exception, match="200 in all"):
        await watched(circles, lambda: Patience(idle_looks=20, most_looks=200), OFTEN)()


async def test_slow_passes() -> None:
    """A test that makes progress, however slowly, passes."""

    async def slow() -> None:
        for _ in range(100):
            await asyncio.sleep(2 * OFTEN)

    await watched(slow, patience, OFTEN)()


async def test_error_shows() -> None:
    """What a test raises is what it fails with, and the loop is as it was."""

    async def fails() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await watched(fails, patience, OFTEN)()
    assert "call_soon" not in vars(asyncio.get_running_loop())


def spin() -> None:
    while True:
        pass


def test_one_long_step_hangs() -> None:
    """A story that spins in one step of its loop is ended."""
    with pytest.raises(Hangs), watchdog(patience, OFTEN):
        spin()
