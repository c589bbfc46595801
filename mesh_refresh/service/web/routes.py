"""`Route`: a row of a table of routes. Tests walk these tables, and so does what documents them."""

from collections.abc import Awaitable, Callable
from enum import Enum, auto

from aiohttp import web
from attrs import frozen

from mesh_refresh.service.access.keys import Scope

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SMALL_BODY, LARGE_BODY = 64 << 10, 16 << 20
"""Bytes of a request's body."""


class Door(Enum):
    """Who is let in to a route."""

    PROBE = auto()
    """Everybody, under any ``Host``."""
    OPEN = auto()
    """Everybody, under a ``Host`` of ours."""
    KEY = auto()
    """A caller with an access key in ``Authorization``, and no cookie."""
    METRICS = auto()
    """A caller with an access key; where the configuration says so, everybody."""
    SESSION = auto()
    """A person with a session of the page: `mesh_refresh.service.page.routes.admit` decides."""


@frozen
class Route:
    """A route, and who may use it. The guard answers everybody else, so that a handler only serves.

    Before a handler of `Door.KEY` runs, the guard has found its `caller_of`, checked scope, prefix and rate, and read
    the body, so that ``await request.read()`` waits for nothing. The keeper (`keeper_of`) is there and works.
    """

    method: str
    path: str
    """As aiohttp has it: ``/v1/logins/{loginId}``. A key with a prefix opens only paths with ``{loginId}``, and those
    that filter what they give."""
    handler: Handler
    scope: Scope | None = None
    door: Door = Door.KEY
    waits: bool = False
    """It may wait for an exchange: one of 200 at most, and ended where its caller hangs up."""
    finishes: bool = False
    """It changes something: neither a caller who hangs up nor the end of the process breaks it off. Others that wait
    are answered at the end with 503 ``stopping``."""
    filters: bool = False
    """It has no login id, and gives only logins that the caller's prefix allows."""
    answers_head: bool = False
    """``HEAD`` too."""
    body_limit: int = SMALL_BODY
    """Bytes; more is 413."""
