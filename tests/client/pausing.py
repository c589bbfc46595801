"""Where an exchange is between two attempts."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest

from mesh_refresh import (
    RetryPolicy,
)
from mesh_refresh.testing import FakeMesh, Fault

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=60)
AT_ONCE = RetryPolicy(deadline=HOUR, backoff=timedelta(), resend_after=timedelta())


async def pause_before_second(
    fake: FakeMesh, caplog: pytest.LogCaptureFixture, fault: Fault, end: Any = None, **options: Any
) -> float:
    """How long the client means to wait after `fault`; in that pause, it is ended by `end`, or cancelled."""
    paused = asyncio.Event()

    class Noticing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "next attempt" in record.getMessage():
                paused.set()

    logger, noticing = logging.getLogger("mesh_refresh"), Noticing()
    logger.addHandler(noticing)
    try:
        with caplog.at_level(logging.INFO, "mesh_refresh"):
            fake.fail(fault)
            async with fake.client(**options) as mesh:
                caller = asyncio.create_task(mesh.refresh(fake.login("coinbase").token))
                await paused.wait()
                if end is None:
                    caller.cancel()
                    await asyncio.wait((caller,))
                    assert caller.cancelled()
                else:
                    await end(mesh, caller)
    finally:
        logger.removeHandler(noticing)
    record = next(record for record in caplog.records if "next attempt" in record.getMessage())
    assert isinstance(record.args, tuple)
    return float(str(record.args[1]))
