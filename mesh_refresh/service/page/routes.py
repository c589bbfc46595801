"""The routes of the page, in one table, and who may use them."""

from aiohttp import web

from mesh_refresh.service.access.caller import Caller
from mesh_refresh.service.access.keys import Scope
from mesh_refresh.service.web.problems import problem
from mesh_refresh.service.web.routes import Route

PAGE_ROUTES: tuple[Route, ...] = ()
"""With ``door=Door.SESSION``, or `Door.OPEN` for the login form, tickets, style and script."""


async def admit(request: web.Request, scope: Scope | None) -> Caller | web.StreamResponse:
    """Who sends `request` by a session that allows `scope`, or the answer to one who may not: a form, a page."""
    del request, scope
    return problem(401, "unauthorized")
