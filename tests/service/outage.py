"""A receiver of webhooks that is down for a day while ten thousand notices wait, on a clock that leaps.

``nox -s simulate`` runs the whole of it; the tests run a smaller one.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any

from attrs import define, field

from mesh_refresh.keeper.notices import seal_notice
from mesh_refresh.masking import MaskedBytes
from mesh_refresh.service import Webhooks
from mesh_refresh.service.webhook_form import WebhookOutcome, WebhookReply
from mesh_refresh.testing.clock import DEFAULT_START
from tests.keeper.leaping import Scene, Wire, always_fresh, leaping
from tests.service.notices import SECRET, notice

_LATENCY = 0.1


@define
class Told:
    """What the receiver saw, and what was left."""

    attempts: list[float] = field(factory=list)
    """When each began, in seconds from the start."""
    taken: Counter[str] = field(factory=Counter)
    most_at_once: int = 0
    up_at: float = 0.0
    done_at: float = 0.0
    waiting: int = 0
    dead: int = 0


class _Simulated(Webhooks):
    """Attempts without a network: each takes a moment, and fails until `up_at`."""

    def __init__(self, told: Told, notices: int, **options: Any) -> None:
        super().__init__("https://receiver.example/hooks", SECRET, **options)
        self._told, self._notices, self._under_way = told, notices, 0
        self.has_all = asyncio.Event()

    async def _post(self, webhook_id: str, body: MaskedBytes) -> WebhookReply:
        loop, told = asyncio.get_running_loop(), self._told
        told.attempts.append(loop.time())
        self._under_way += 1
        told.most_at_once = max(told.most_at_once, self._under_way)
        try:
            await asyncio.sleep(_LATENCY)
        finally:
            self._under_way -= 1
        if loop.time() < told.up_at:
            return WebhookReply(WebhookOutcome.NOT_REACHED, "it is down")
        told.taken[webhook_id] += 1
        if len(told.taken) == self._notices:
            self.has_all.set()
        return WebhookReply(WebhookOutcome.TAKEN)


def outage(notices: int, down: timedelta) -> Told:
    """Let `notices` wait for a receiver that is up again after `down`."""

    async def story() -> Told:
        scene, told = Scene(Wire(always_fresh(timedelta(hours=1)))), Told(up_at=down.total_seconds())
        outbox = scene.store.outbox
        sealed = [seal_notice(scene.store.cipher, notice(number, at=DEFAULT_START)) for number in range(notices)]
        await outbox.put(sealed)
        webhooks = _Simulated(told, notices, clock=scene.clock)
        async with scene.process(on_notice=webhooks, poll=timedelta(seconds=5)):
            with suppress(TimeoutError):
                await asyncio.wait_for(webhooks.has_all.wait(), 3 * told.up_at)
        told.done_at = asyncio.get_running_loop().time()
        counts = await outbox.counts()
        told.waiting, told.dead = counts.waiting, counts.dead
        return told

    return leaping(story())


if __name__ == "__main__":
    found = outage(10_000, timedelta(days=1))
    before = sum(at < found.up_at for at in found.attempts)
    print(f"{before} attempts while it was down; then {found.most_at_once} at once; taken {len(found.taken)}")  # noqa: T201
    print(f"{found.waiting} wait, {found.dead} are dead; all done {found.done_at - found.up_at:.0f} s later")  # noqa: T201
