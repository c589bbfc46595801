"""The guard of the routes: who is let in, how many may wait, and how waiting ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web
from attrs import define, evolve, field, frozen

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.service.access.access import Access, Refusal
from mesh_refresh.service.access.caller import CALLER, Caller
from mesh_refresh.service.access.keys import AccessKey, Scope
from mesh_refresh.service.access.tickets import Tickets
from mesh_refresh.service.web.exposure import Exposure
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.service.web.problems import jittered, not_started, problem
from mesh_refresh.service.web.requests import ADDRESS, KEEPER, REQUEST_ID
from mesh_refresh.service.web.routes import SMALL_BODY, Door, Handler, Route

Admit = Callable[[web.Request, Scope | None], Awaitable[Caller | web.StreamResponse]]
Explain = Callable[[MeshRefreshError], web.Response]

_OTHER_KIND = Refusal(
    401, "unauthorized", "Authorization must be: Bearer mrk_...", challenge='Bearer error="invalid_request"'
)
_STOPPING = Refusal(503, "stopping", "This process is ending: ask another one.", retry_after=1.0)


@frozen
class Doors:
    """What decides who is let in."""

    access: Access
    tickets: Tickets
    exposure: Exposure
    admit: Admit
    """For sessions of the page."""
    explain: Explain
    """The answer for an error that a handler raised."""


@define
class Guard:
    """Stands before each handler of the routes."""

    doors: Doors
    probes: Probes
    most_waiting: int = 200
    _waiting: "set[asyncio.Future[Any]]" = field(factory=set, init=False)
    """Calls that may wait for an exchange."""
    _finishing: "set[asyncio.Future[Any]]" = field(factory=set, init=False)
    """Calls that are not broken off."""
    _is_stopping: bool = field(default=False, init=False)

    def protect(self, route: Route) -> Handler:
        """The handler of `route`, behind this guard."""

        async def protected(request: web.Request) -> web.StreamResponse:
            refusal = await self._admit(route, request)
            if refusal is not None:
                return refusal if isinstance(refusal, web.StreamResponse) else refuse(refusal)
            if route.body_limit != SMALL_BODY:
                request = request.clone(client_max_size=route.body_limit)
            if len(await request.read()) > route.body_limit:  # a server that this is mounted in has other limits
                return problem(413, "too_large")
            return await self._serve(route, request)

        return protected

    async def stop(self) -> None:
        """Let nothing new begin, end calls that wait for an exchange, and wait for those that change something.

        The exchanges that were waited for go on.
        """
        self._is_stopping = self.probes.is_ending = True
        for call in self._waiting - self._finishing:
            call.cancel()
        while under_way := self._waiting | self._finishing:
            await asyncio.wait(under_way)

    # Who is let in.

    async def _admit(self, route: Route, request: web.Request) -> Refusal | web.StreamResponse | None:
        """Why not; None: the caller is in, and stands on the request."""
        if route.door in (Door.PROBE, Door.OPEN):
            return None
        why_closed = None
        if route.door is Door.METRICS:
            why_closed = self.doors.exposure.close_metrics(request.headers)
            if why_closed is None:
                return None
        elif self._is_stopping:
            return _STOPPING
        if route.door is Door.SESSION:
            found = await self.doors.admit(request, route.scope)
            if not isinstance(found, Caller):
                return found
            caller = found
        else:
            key = self._find_key(request)
            if isinstance(key, Refusal):
                return evolve(key, detail=f"{key.detail} {why_closed}") if why_closed else key
            caller = Caller(key.name, key.scopes, key.prefix, request[REQUEST_ID], request[ADDRESS])
        request[CALLER] = caller
        return _refuse_caller(route, caller) or (None if why_closed else self._refuse_for_now(request))

    def _find_key(self, request: web.Request) -> AccessKey | Refusal:
        access, given = self.doors.access, request.headers.getall(hdrs.AUTHORIZATION, [])
        scheme, _, bearer = given[0].partition(" ") if given else ("", "", "")
        if len(given) > 1 or (given and scheme.lower() != "bearer"):
            found: AccessKey | Refusal = _OTHER_KIND
        else:
            found = access.find(bearer.strip() if given else None)
        if isinstance(found, Refusal) and found.status == 401:
            access.count_failure(found, request[ADDRESS])
        return found

    def _refuse_for_now(self, request: web.Request) -> web.Response | None:
        keeper = self.probes.keeper
        if keeper is None:
            return not_started()
        request[KEEPER] = keeper
        return None

    # How it ends.

    async def _serve(self, route: Route, request: web.Request) -> web.StreamResponse:
        if not (route.waits or route.finishes):
            return await self._answer(route, request)
        if self._is_ending():  # while its body came
            return refuse(_STOPPING)
        if route.waits and len(self._waiting) >= self.most_waiting:
            return problem(503, "busy", "Too many calls wait for exchanges.", retry_after=jittered(2.0))
        if not route.finishes:
            return await self._wait(route, request)
        call = asyncio.ensure_future(self._answer(route, request))
        for group in (self._finishing, self._waiting) if route.waits else (self._finishing,):
            group.add(call)
            call.add_done_callback(group.discard)
        return await asyncio.shield(call)

    async def _wait(self, route: Route, request: web.Request) -> web.StreamResponse:
        task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
        self._waiting.add(task)
        try:
            return await self._answer(route, request)
        except asyncio.CancelledError:
            if not self._is_stopping or task.uncancel():  # its caller has hung up
                raise
            return refuse(_STOPPING)
        finally:
            self._waiting.discard(task)

    def _is_ending(self) -> bool:
        return self._is_stopping

    async def _answer(self, route: Route, request: web.Request) -> web.StreamResponse:
        try:
            return await route.handler(request)
        except MeshRefreshError as error:
            return self.doors.explain(error)


def refuse(refusal: Refusal) -> web.Response:
    """The answer to a caller who is not let in."""
    return problem(
        refusal.status,
        refusal.reason,
        refusal.detail,
        retry_after=refusal.retry_after,
        challenge=refusal.challenge,
    )


def _refuse_caller(route: Route, caller: Caller) -> Refusal | None:
    if route.scope is not None and route.scope not in caller.scopes:
        challenge = f'Bearer error="insufficient_scope", scope="{route.scope}"'
        return Refusal(403, "forbidden", f"This access key has no scope {route.scope}.", challenge=challenge)
    if caller.prefix and not (route.filters or "{loginId}" in route.path):
        return Refusal(403, "forbidden", "This access key is for logins with a prefix, and this is about all of them.")
    return None
