"""What each request has, before its handler runs."""

import logging
import random
import re
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web

from mesh_refresh.keeper import Keeper
from mesh_refresh.keeper.errors import without_secrets
from mesh_refresh.service.web.exposure import Exposure
from mesh_refresh.service.web.problems import problem, reason_of

_log = logging.getLogger("mesh_refresh.service")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID: web.RequestKey[str] = web.RequestKey("mesh_refresh request id", str)
ADDRESS: web.RequestKey[str] = web.RequestKey("mesh_refresh address", str)
KEEPER: web.RequestKey[Keeper] = web.RequestKey("mesh_refresh keeper", Keeper)
EXPOSURE: web.AppKey[Exposure] = web.AppKey("mesh_refresh exposure", Exposure)

_PLAIN_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def keeper_of(request: web.Request) -> Keeper:
    """The keeper that serves `request`. Of routes that need a key or a session."""
    return request[KEEPER]


@web.middleware
async def introduce(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Give the request its id and the address of its caller; errors of aiohttp and bugs become problems."""
    given = request.headers.get("X-Request-Id", "")
    request[REQUEST_ID] = given if _PLAIN_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
    request[ADDRESS] = request.app[EXPOSURE].address_of(request.remote or "", request.headers)
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return problem(error.status, reason_of(error.status), headers=allow)
    except ConnectionError:  # the caller is gone
        raise
    except Exception as error:  # noqa: BLE001 - the answer and the log show its class and place, and never its text
        _log.error("a request was not answered because of a bug in mesh_refresh", extra=describe(error))
        return problem(500, "internal")


def check_host(excepted: "set[web.AbstractRoute]") -> Any:
    """A middleware that refuses requests under a name of others, but at the routes `excepted`: DNS rebinding."""

    @web.middleware
    async def checking(request: web.Request, handler: _Handler) -> web.StreamResponse:
        is_own = request.app[EXPOSURE].is_own(request.headers.getall(hdrs.HOST, []))
        if is_own or request.match_info.route in excepted:
            return await handler(request)
        why = "The Host header must be an IP address or localhost. Allow another name with --host NAME."
        return problem(403, "wrong_host", why)

    return checking


def describe(error: BaseException) -> dict[str, Any]:
    """Class and place of `error`, for a log record."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return {**without_secrets(error), "raised_at": f"{Path(frame.filename).name}:{frame.lineno}"}
