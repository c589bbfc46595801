"""What the page of one process has besides its requests: what it read of the fleet, shared by all who look."""

import asyncio
import secrets

from aiohttp import web
from attrs import define, field

from mesh_refresh.keeper import Keeper
from mesh_refresh.service.page.fleet_view import FleetView, Snapshot, view_fleet
from mesh_refresh.service.web.guard import Doors
from mesh_refresh.service.web.probes import Probes

_LIVE_EVERY = 5.0
_FRESH = 0.8
"""For which part of `PageState.live_every` a snapshot is good."""


@define(eq=False)
class PageState:
    """The page of one process."""

    doors: Doors
    probes: Probes
    paths: tuple[str, ...]
    """Of its routes."""
    live_every: float = _LIVE_EVERY
    """Seconds between two looks of a browser at live figures."""
    process: str = field(factory=lambda: secrets.token_hex(16))
    """A name that no other process has: sessions by its tickets have it."""
    _reading: "asyncio.Task[FleetView] | None" = field(default=None, init=False)
    _good_until: float = field(default=0.0, init=False)

    async def look(self, keeper: Keeper) -> FleetView:
        """The fleet as it was a few seconds ago at most. However many look, the store is asked once for it.

        Raises the store's `StoreError`.
        """
        now = asyncio.get_running_loop().time()
        if self._reading is None or now >= self._good_until:
            self._reading = asyncio.create_task(_read(keeper), name="mesh_refresh page")
            self._good_until = now + self.live_every * _FRESH
        return await asyncio.shield(self._reading)

    def forget(self) -> None:
        """Something was changed here: the next one who looks must see it."""
        self._good_until = 0.0


PAGE: web.AppKey[PageState] = web.AppKey("mesh_refresh page", PageState)


async def _read(keeper: Keeper) -> FleetView:
    figures, processes, pauses = await asyncio.gather(keeper.figures(), keeper.processes(), keeper.pauses())
    return view_fleet(Snapshot(keeper.now(), figures, processes, pauses))
