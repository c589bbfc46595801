"""The routes of the page, in one table, and who may use them."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.service.access.keys import Scope
from mesh_refresh.service.access.tickets import TICKET_PATH
from mesh_refresh.service.api.problems import answer_of
from mesh_refresh.service.page import fleet, logins, sign_in
from mesh_refresh.service.page.rendering import asset
from mesh_refresh.service.page.state import PAGE, PageState
from mesh_refresh.service.page.visit import HEADERS, Visit, admit, visit_of
from mesh_refresh.service.web.guard import Guard
from mesh_refresh.service.web.problems import not_started
from mesh_refresh.service.web.routes import Door, Handler, Route
from mesh_refresh.stores import StoreError

__all__ = ["PAGE", "PAGE_ROUTES", "admit", "make_state"]

Serving = Callable[[Visit], Awaitable[web.Response]]


def _serve(answer: Serving) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        visit = visit_of(request)
        if visit is None:
            return not_started()
        try:
            return await answer(visit)
        except MeshRefreshError as error:
            away = isinstance(error, StoreError)
            title = "The store does not answer" if away else "This cannot be done"
            text = "Nothing is lost by that. Load the page again in a moment." if away else str(error)
            status = answer_of(error).status
        return visit.page("message.html", status, title=title, text=text, back="/", back_text="Load the page")

    return handler


def _file(name: str, content_type: str) -> Route:
    text = asset(name)

    async def handler(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type=content_type, headers=HEADERS)

    return Route("GET", f"/{name}", handler, door=Door.OPEN, answers_head=True)


def _open(method: str, path: str, answer: Serving) -> Route:
    return Route(method, path, _serve(answer), door=Door.OPEN)


def _shown(path: str, answer: Serving, *, filters: bool = False) -> Route:
    return Route("GET", path, _serve(answer), Scope.READ, door=Door.SESSION, filters=filters)


def _done(path: str, answer: Serving, scope: Scope, *, waits: bool = False) -> Route:
    return Route("POST", path, _serve(answer), scope, door=Door.SESSION, waits=waits, finishes=True)


PAGE_ROUTES: tuple[Route, ...] = (
    _file("page.css", "text/css"),
    _file("page.js", "text/javascript"),
    _file("page.svg", "image/svg+xml"),
    _open("GET", "/sign-in", sign_in.show_form),
    _open("POST", "/sign-in", sign_in.sign_in),
    _open("GET", f"{TICKET_PATH}/{{ticket}}", sign_in.show_ticket),
    Route("POST", "/sign-out", _serve(sign_in.sign_out), Scope.READ, door=Door.SESSION, filters=True),
    _shown("/", fleet.show_fleet, filters=True),
    _done(fleet.PAUSE, fleet.pause, Scope.OPERATE),
    _done(fleet.RESUME, fleet.resume, Scope.OPERATE),
    _shown("/logins", logins.list_logins, filters=True),
    _shown(logins.LOGIN, logins.show_login),
    _done(f"{logins.LOGIN}/refresh", logins.refresh, Scope.OPERATE, waits=True),
    _done(f"{logins.LOGIN}/mfa", logins.submit_code, Scope.OPERATE, waits=True),
    _done(f"{logins.LOGIN}/mfa/restart", logins.ask_again, Scope.OPERATE, waits=True),
    _done(f"{logins.LOGIN}/remove", logins.remove, Scope.REMOVE),
)
"""Each answer is a page, or sends the browser on to one. None holds a token, for any key."""


def make_state(guard: Guard) -> PageState:
    """The page of a service behind `guard`."""
    return PageState(guard.doors, guard.probes, tuple(route.path for route in PAGE_ROUTES))
