"""A program of its own that refreshes on an aiohttp which `test_other_aiohttp` has changed, and says what it saw."""

import asyncio
import json
import logging
import sys
from typing import Any

import aiohttp

from mesh_refresh import AiohttpTransport, MeshRefreshError, NotSent, Refreshed, RetryPolicy, SendOptions
from mesh_refresh.testing import FakeMesh, Fault

warnings: list[str] = []


class Listening(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        warnings.append(record.getMessage())


def refuse() -> None:
    raise ValueError


async def main() -> dict[str, Any]:
    saved: list[object] = []
    transport = AiohttpTransport()
    async with FakeMesh() as fake:
        login, cut, held = (fake.login("coinbase") for _ in range(3))
        options: dict[str, Any] = {"retry": RetryPolicy(max_requests=3), "transport": transport}
        async with fake.client(on_outcome=saved.append, **options) as mesh:
            refreshed = isinstance(await mesh.refresh(login.token), Refreshed)
            fake.fail(Fault.cut())
            try:
                await mesh.refresh(cut.token)
                cut_as = "nothing"
            except MeshRefreshError as error:
                cut_as = type(error).__name__
            requests = len(fake.requests)
            try:
                await mesh.refresh(held.token, sending=SendOptions(max_requests=1, before_send=refuse))
                asked = False
            except NotSent:
                asked = len(fake.requests) == requests
            gate = fake.hold()
            caller = asyncio.ensure_future(mesh.refresh(held.token))
            await gate.entered.wait()
            caller.cancel()
            await asyncio.wait((caller,))
            gate.release()
        return {
            "version": aiohttp.__version__,
            "way": transport.way,
            "refreshed": refreshed,
            "cut as": cut_as,
            "requests": len(fake.requests),
            "before_send is asked": asked,
            "saved": len(saved),
            "lost": [lost.reason.name for lost in fake.lost()],
            "warnings": warnings,
        }


if __name__ == "__main__":
    logger = logging.getLogger("mesh_refresh")
    logger.addHandler(Listening(logging.WARNING))
    sys.stdout.write(json.dumps(asyncio.run(main())))
