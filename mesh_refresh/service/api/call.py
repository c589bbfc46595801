"""`ApiCall`: a request of the API as its handler sees it, and how one becomes an answer and a line of the audit."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from aiohttp import hdrs, web
from attrs import define, field

from mesh_refresh import codec
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper import Keeper
from mesh_refresh.masking import MaskedBytes, MaskedDict
from mesh_refresh.service.access.caller import Caller, caller_of
from mesh_refresh.service.api.parameters import MediaTypeRefused, check_fields, read_body, read_query, text_of
from mesh_refresh.service.api.problems import outcome_of
from mesh_refresh.service.api.segments import raw_segment, read_segment
from mesh_refresh.service.audit import audit
from mesh_refresh.service.web.requests import keeper_of
from mesh_refresh.telemetry.tracing import continue_trace

_P = ParamSpec("_P")
_T = TypeVar("_T")

_ABOUT = {"loginId": "login", "brokerType": "broker"}
"""What a path can name, and how the audit calls it."""
_LARGE = 64 << 10
"""Bytes of a body."""


@define
class ApiCall:
    """A request whose query, body and ids are read."""

    keeper: Keeper
    caller: Caller
    headers: Mapping[str, str] = field(repr=False)  # the access key is in it
    query: Mapping[str, str]
    body: MaskedDict
    shown: str | None = None
    """The login id or the broker in the path, as it was sent."""
    account: str | None = None
    """The account that the caller named."""
    outcome: str = "done"
    """For the audit."""
    facts: dict[str, Any] = field(factory=dict)
    """More for the audit."""
    is_large: bool = False
    """The body is so large that the event loop must not stand still while it is read."""

    async def aside(self, read: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What `read` gives. For a large body it works in a thread."""
        if self.is_large:
            return await asyncio.to_thread(read, *args, **kwargs)
        return read(*args, **kwargs)

    @property
    def login_id(self) -> str:
        """The login id to ask the keeper for: of no login, where the caller must not see it."""
        return self.caller.masked(self.shown or "")


Answering = Callable[[ApiCall], Awaitable[dict[str, Any] | web.Response]]


def serve(
    answer: Answering,
    template: str,
    *,
    verb: str | None = None,
    query: tuple[str, ...] = (),
    fields: tuple[str, ...] | None = (),
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler of a route.

    Args:
        answer: gives the document of the answer.
        template: the path of the route.
        verb: for the audit; None: the route is in no audit.
        query: the parameters that it takes.
        fields: the fields that its body may have, of which none is needed to be there. None: any. Empty: no body.
    """
    name = next((name for name in _ABOUT if f"{{{name}}}" in template), None)

    async def handler(request: web.Request) -> web.StreamResponse:
        call = ApiCall(keeper_of(request), caller_of(request), request.headers, {}, MaskedDict())
        outcome = "internal"
        try:
            if name is not None:
                call.shown = read_segment(raw_segment(request.raw_path, template, name))
            call.query = read_query(request.raw_path.partition("?")[2].partition("#")[0], query)
            await _take_body(call, request, fields)
            call.account = call.query.get("accountId") or text_of(call.body if fields else {}, "accountId")
            with continue_trace(request.headers):
                found = await answer(call)
            outcome = call.outcome
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            if verb is not None:
                about = {} if name is None else {_ABOUT[name]: call.shown}
                audit(call.caller, verb, outcome, account=call.account, **about, **call.facts)
        return found if isinstance(found, web.Response) else answer_json(found)

    return handler


def answer_json(document: dict[str, Any], status: int = 200) -> web.Response:
    """`document` as JSON."""
    return web.Response(status=status, body=codec.dumps(document).encode(), content_type="application/json")


async def _take_body(call: ApiCall, request: web.Request, fields: tuple[str, ...] | None) -> None:
    sent = MaskedBytes(await request.read())
    if sent and fields == ():
        raise InvalidRequest("This takes no body.")
    if sent and request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise MediaTypeRefused("The body must be sent as it is, without Content-Encoding.")
    call.is_large = len(sent) > _LARGE
    call.body = await call.aside(read_body, sent, request.headers.get(hdrs.CONTENT_TYPE))
    if fields is not None:
        check_fields(call.body, fields)
