"""`Visit`: a request to the page, and its answers. Who may come in is decided here."""

from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

from aiohttp import hdrs, web
from attrs import define, field

from mesh_refresh.keeper import Keeper
from mesh_refresh.masking import MaskedBytes, MaskedDict
from mesh_refresh.service.access.caller import CALLER, Caller
from mesh_refresh.service.access.keys import Scope
from mesh_refresh.service.access.tickets import TICKET_SCOPES
from mesh_refresh.service.page.rendering import render
from mesh_refresh.service.page.session import Session, form_token, is_form_token, open_session, seal_session
from mesh_refresh.service.page.state import PAGE, PageState
from mesh_refresh.service.web.problems import not_started
from mesh_refresh.service.web.requests import ADDRESS, REQUEST_ID
from mesh_refresh.version import VERSION

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not "no-referrer": with that, browsers send "Origin: null" with forms.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""Of each answer of the page. `no-store` and `nosniff` each answer of the service has."""

_SESSION, _FORM = "mesh_refresh_session", "mesh_refresh_form"
TICKET_NAME = "ticket"
"""How the audit names who came by a ticket."""

SESSION: web.RequestKey[Session] = web.RequestKey("mesh_refresh session", Session)


@define
class Visit:
    """A request to the page, and what its answer needs."""

    request: web.Request
    state: PageState
    keeper: Keeper
    session: Session
    """Of the person; where there is none, of the form by which one signs in."""
    now: datetime
    caller: Caller | None = None
    _cookies: dict[str, str] = field(factory=dict)
    """To be set with the answer."""
    _fields: MaskedDict | None = None
    """What the form has sent. None: it was not read yet."""

    @property
    def who(self) -> Caller:
        """Who has signed in."""
        if self.caller is None:
            raise RuntimeError("this route is open to all")
        return self.caller

    @property
    def root(self) -> str:
        """The path below which the page is: empty, unless the application is mounted in another one."""
        return root_of(self.request)

    def page(self, template: str, status: int = 200, *, here: str = "", **values: Any) -> web.Response:
        """The answer that `template` makes with `values`."""
        values = {
            "at": self.now,
            "every": round(self.state.live_every * 1000),
            "form": form_token(self.keeper.cipher, self.session),
            "here": here,
            "path": None,
            "person": None if self.caller is None else _person(self.caller),
            "problem": None,
            "root": self.root,
            "told": None,
            "version": VERSION,
            **values,
        }
        response = web.Response(status=status, text=render(template, **values), content_type="text/html")
        if status == 503:
            response.headers["Retry-After"] = "5"
        return self._finish(response)

    def go_to(self, path: str, **query: str) -> web.Response:
        """The answer that sends the browser on to `path` of the page, by GET."""
        where = f"{self.root}{path}{'?' if query else ''}{urlencode(query)}"
        return self._finish(web.Response(status=303, headers={hdrs.LOCATION: where}))

    def sign_in(self, session: Session) -> None:
        """From the answer on, `session` is that of this browser."""
        self._cookies[_SESSION] = seal_session(self.keeper.cipher, session)
        self._cookies[_FORM] = ""

    def sign_out(self) -> None:
        """From the answer on, this browser has no session."""
        self._cookies[_SESSION] = ""

    def begin_form(self) -> None:
        """Give the browser a session for the form by which one signs in, unless it has one."""
        self.session = _open(self.request, self.state, self.keeper, _FORM, self.now) or self.session
        self._cookies[_FORM] = seal_session(self.keeper.cipher, self.session)

    async def field(self, name: str) -> str:
        """What a form has sent under `name`; empty where that is nothing, or no form came."""
        if self._fields is None:
            is_form = self.request.content_type == "application/x-www-form-urlencoded"
            sent = MaskedBytes(await self.request.read()) if is_form else MaskedBytes()
            self._fields = MaskedDict(parse_qsl(sent.decode(errors="replace"), keep_blank_values=True))
        return str(self._fields.get(name, ""))

    async def is_own_form(self) -> bool:
        """Whether the request was sent by a form of this session, on this page and not on another one."""
        is_own = is_same_origin(self.request, is_secure=is_secure(self.request, self.state))
        return is_own and is_form_token(self.keeper.cipher, self.session, await self.field("form"))

    def _finish(self, response: web.Response) -> web.Response:
        response.headers.update(HEADERS)
        secure = is_secure(self.request, self.state)
        for name, value in self._cookies.items():
            response.set_cookie(
                _cookie_name(name, is_secure=secure),
                value,
                path="/",
                httponly=True,
                samesite="Strict",
                secure=secure,
                max_age=None if value else 0,
            )
        return response


def visit_of(request: web.Request) -> Visit | None:
    """The visit that `request` is; None while the process has no keeper yet."""
    state = request.app[PAGE]
    keeper = state.probes.keeper
    if keeper is None:
        return None
    now, caller = keeper.now(), request.get(CALLER)
    if (known := request.get(SESSION)) is not None:
        visit = Visit(request, state, keeper, known, now, caller)
        used = known if _LIVE in request.headers else known.used(now)
        if used is not known:
            visit.sign_in(used)
        return visit
    return Visit(request, state, keeper, Session("", "", now, now), now, caller)


async def admit(request: web.Request, scope: Scope | None) -> Caller | web.StreamResponse:
    """Who sends `request` by a session; else the way to the form. Each POST needs a form of that session."""
    del scope  # the guard compares it
    visit = visit_of(request)
    if visit is None:
        return not_started()
    session = _open(request, visit.state, visit.keeper, _SESSION, visit.now)
    found = None if session is None else _allowed(session, visit.state)
    if session is None or found is None:
        is_page = request.method == hdrs.METH_GET
        return visit.go_to("/sign-in", **({"to": _below_root(request)} if is_page else {}))
    visit.session = session
    if request.method != hdrs.METH_GET and not await visit.is_own_form():
        return refuse_strange_form(visit)
    request[SESSION] = session
    name, scopes, prefix = found
    return Caller(name, scopes, prefix, request[REQUEST_ID], request[ADDRESS])


def refuse_strange_form(visit: Visit) -> web.Response:
    """The answer to a POST that no form of this session has sent."""
    return visit.page(
        "message.html",
        403,
        title="Not from this page",
        text="Nothing was done: this form was sent from another site, or from a session that has ended. Load the page "
        "again, and repeat it there.",
        back="/",
        back_text="Load the page",
    )


def is_same_origin(request: web.Request, *, is_secure: bool) -> bool:
    """Whether a page of this very origin has sent it. Other ports of the host are other origins."""
    given = request.headers.getall(hdrs.ORIGIN, [])
    own = f"{'https' if is_secure else 'http'}://{request.headers.get(hdrs.HOST, '')}"
    return given == [own]


def is_secure(request: web.Request, state: PageState) -> bool:
    """Whether people reach the page by ``https``."""
    return state.doors.exposure.is_secure or request.secure


def root_of(request: web.Request) -> str:
    """Below which path the page is mounted."""
    resource = request.match_info.route.resource
    canonical = "/" if resource is None else resource.canonical
    paths = request.app[PAGE].paths
    return canonical.removesuffix(max((path for path in paths if canonical.endswith(path)), key=len, default="/"))


_LIVE = "X-Live"
"""The header of the page's own requests for live figures: no person has done anything."""


def _below_root(request: web.Request) -> str:
    return request.raw_path[len(root_of(request)) :]


def _cookie_name(name: str, *, is_secure: bool) -> str:
    return f"__Host-{name}" if is_secure else name


def _open(request: web.Request, state: PageState, keeper: Keeper, name: str, now: datetime) -> Session | None:
    cookie = request.cookies.get(_cookie_name(name, is_secure=is_secure(request, state)))
    session = None if not cookie else open_session(keeper.cipher, cookie)
    return None if session is None or session.is_over(now) else session


def _allowed(session: Session, state: PageState) -> tuple[str, frozenset[Scope], str] | None:
    """Name, scopes and prefix of who has this session; None where it has ended with its key, or with its process."""
    if session.process:
        return (TICKET_NAME, TICKET_SCOPES, "") if session.process == state.process else None
    key = state.doors.access.by_name(session.key_name, session.key_hash)
    return None if key is None else (key.name, key.scopes, key.prefix)


def _person(caller: Caller) -> dict[str, object]:
    return {
        "key": caller.key,
        "prefix": caller.prefix,
        "can_operate": Scope.OPERATE in caller.scopes,
        "can_remove": Scope.REMOVE in caller.scopes,
    }
