"""The routes about the fleet and its brokers, and the document that describes all of them."""

from functools import lru_cache
from importlib.resources import files
from typing import Any

from aiohttp import web

from mesh_refresh.enums import BrokerType, named_broker
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper import Keeper
from mesh_refresh.service.api.call import ApiCall
from mesh_refresh.service.api.documents import brokers_document, pause_document, summary_document
from mesh_refresh.stores import BrokerPause
from mesh_refresh.stores.store import ALL_BROKERS


async def summarize(call: ApiCall) -> dict[str, Any]:
    """``GET summary``."""
    keeper = call.keeper
    return summary_document(await keeper.figures(), await keeper.processes(), keeper.now())


async def list_brokers(call: ApiCall) -> dict[str, Any]:
    """``GET brokers``."""
    keeper = call.keeper
    return brokers_document(await keeper.figures(), await keeper.pauses(), await keeper.processes())


async def pause(call: ApiCall) -> dict[str, Any]:
    """``PUT`` of a pause."""
    note = call.body.get("note")
    if note is not None and not isinstance(note, str):
        raise InvalidRequest("note must be a text.")
    return pause_document(await pause_known(call.keeper, call.shown or "", note=note or "", by=call.caller.key))


async def pause_known(keeper: Keeper, broker: str, *, note: str, by: str) -> BrokerPause:
    """`Keeper.pause`, for people who may mistype a name.

    Raises `InvalidRequest` where neither Mesh names such a broker, nor is there a login or a pause of it.
    """
    name = named_broker(broker)
    if name != ALL_BROKERS and not isinstance(name, BrokerType):
        summary = await keeper.summary()
        if name not in summary.brokers and name not in summary.paused:
            raise InvalidRequest("Mesh names no such broker, and no login here is of it: nothing was paused.")
    return await keeper.pause(broker, note=note, by=by)


async def resume(call: ApiCall) -> web.Response:
    """``DELETE`` of a pause. It also ends the wait of open breakers, so it is no error where there is no pause."""
    await call.keeper.resume(call.shown or "")
    return web.Response(status=204)


@lru_cache
def openapi() -> bytes:
    """The description of this API in OpenAPI 3.1."""
    return files("mesh_refresh.service.api").joinpath("openapi.json").read_bytes()


async def describe(_: web.Request) -> web.Response:
    """``/openapi.json``."""
    return web.Response(body=openapi(), content_type="application/json")
