"""Signing in, by an access key or by a ticket, and out."""

import time
from typing import Any

from aiohttp import web

from mesh_refresh.masking import MaskedStr
from mesh_refresh.service.access.access import Refusal
from mesh_refresh.service.access.caller import Caller
from mesh_refresh.service.access.keys import AccessKey, Scope
from mesh_refresh.service.access.tickets import TICKET_SCOPES
from mesh_refresh.service.audit import audit
from mesh_refresh.service.page.session import Session
from mesh_refresh.service.page.visit import TICKET_NAME, Visit, refuse_strange_form
from mesh_refresh.service.web.requests import ADDRESS, REQUEST_ID

_NO_KEY = Refusal(401, "unauthorized", "This is no access key that is known here, or it was revoked.")
_MAY_NOT_READ = Refusal(403, "forbidden", "This key may not read. The page needs one with the scope read.")
_NO_TICKET = Refusal(
    401, "unauthorized", "This ticket was used, is older than ten minutes, or of another process. Sign in by a key."
)


async def show_form(visit: Visit) -> web.Response:
    """The form by which one signs in."""
    return _form(visit, visit.request.query.get("to", "/"))


async def show_ticket(visit: Visit) -> web.Response:
    """A button that uses the ticket up: what looks at the address before a person does must not."""
    visit.begin_form()
    return visit.page("ticket.html", path="/sign-in", ticket=visit.request.match_info["ticket"])


async def sign_in(visit: Visit) -> web.Response:
    """Begin a session, always a new one."""
    visit.begin_form()
    if not await visit.is_own_form():
        return refuse_strange_form(visit)
    to, ticket = await visit.field("to"), MaskedStr(await visit.field("ticket"))
    found = _by_ticket(visit, ticket) if ticket else await _by_key(visit)
    if isinstance(found, Refusal):
        visit.state.doors.access.count_failure(found, visit.request[ADDRESS])
        return _form(visit, to, found.status, problem=found.detail)
    session, scopes = found
    visit.sign_in(session)
    caller = Caller(session.key_name, scopes, "", visit.request[REQUEST_ID], visit.request[ADDRESS])
    audit(caller, "sign_in", "done")
    return visit.go_to(_own_path(to))


async def sign_out(visit: Visit) -> web.Response:
    """End the session in this browser."""
    visit.sign_out()
    audit(visit.who, "sign_out", "done")
    return visit.go_to("/sign-in")


def _by_ticket(visit: Visit, ticket: str) -> tuple[Session, frozenset[Scope]] | Refusal:
    state, now = visit.state, visit.now
    if not state.doors.tickets.take(ticket, time.monotonic()):
        return _NO_TICKET
    return Session(TICKET_NAME, "", now, now, state.process), TICKET_SCOPES


async def _by_key(visit: Visit) -> tuple[Session, frozenset[Scope]] | Refusal:
    found = visit.state.doors.access.find(MaskedStr((await visit.field("key")).strip()))
    if not isinstance(found, AccessKey):
        return found if found.status == 429 else _NO_KEY
    if Scope.READ not in found.scopes:
        return _MAY_NOT_READ
    return Session(found.name, found.hash, visit.now, visit.now), found.scopes


def _form(visit: Visit, to: str, status: int = 200, **values: Any) -> web.Response:
    visit.begin_form()
    return visit.page("sign_in.html", status, to=_own_path(to), **values)


def _own_path(to: str) -> str:
    """`to`, where it is a path of this page: to a browser, two slashes of any kind begin with another host."""
    is_own = to.startswith("/") and to[1:2] not in ("/", "\\") and to.isprintable() and not to.startswith("/sign-")
    return to if is_own else "/"
