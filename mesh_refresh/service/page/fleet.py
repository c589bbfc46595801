"""The fleet on the page, and pauses of brokers."""

from collections.abc import Awaitable
from typing import Any

from aiohttp import web

from mesh_refresh.keeper import AccountState
from mesh_refresh.service.api.fleet import pause_known
from mesh_refresh.service.api.segments import raw_segment, read_segment
from mesh_refresh.service.page.acting import TOLD, act
from mesh_refresh.service.page.visit import Visit

PAUSE, RESUME = "/brokers/{brokerType}/pause", "/brokers/{brokerType}/resume"
_LONGEST_NOTE = 1000


async def show_fleet(visit: Visit) -> web.Response:
    """All of the fleet. A key for some logins sees those alone."""
    if visit.who.prefix:
        return visit.go_to("/logins")
    return await _page(visit, told=TOLD.get(visit.request.query.get("told", "")))


async def pause(visit: Visit) -> web.Response:
    """Pause a broker, with the note of the form."""
    broker, note = _broker(visit, PAUSE), (await visit.field("note")).strip()[:_LONGEST_NOTE]
    return await _change(visit, "pause", broker, pause_known(visit.keeper, broker, note=note, by=visit.who.key))


async def resume(visit: Visit) -> web.Response:
    """Resume a broker."""
    broker = _broker(visit, RESUME)
    return await _change(visit, "resume", broker, visit.keeper.resume(broker))


async def _change(visit: Visit, verb: str, broker: str, doing: Awaitable[object]) -> web.Response:
    problem = await act(visit, verb, doing, broker=broker)
    visit.state.forget()
    if problem is None:
        return visit.go_to("/", told=verb)
    return await _page(visit, problem.status, problem=problem.words)


async def _page(visit: Visit, status: int = 200, **values: Any) -> web.Response:
    view = await visit.state.look(visit.keeper)
    values = {"path": "/", "view": view, "shown_states": list(AccountState), **values}
    return visit.page("fleet.html", status, here="fleet", **values)


def _broker(visit: Visit, template: str) -> str:
    return read_segment(raw_segment(visit.request.raw_path, template, "brokerType"))
