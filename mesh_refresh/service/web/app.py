"""The application of a service: its routes, and what each answer has."""

import re
from collections.abc import Sequence

from aiohttp import hdrs, web

from mesh_refresh.service.access.keys import Scope
from mesh_refresh.service.web.connection import watch_body
from mesh_refresh.service.web.guard import Guard
from mesh_refresh.service.web.metrics import show_metrics
from mesh_refresh.service.web.replies import add_headers
from mesh_refresh.service.web.requests import EXPOSURE, check_host, introduce
from mesh_refresh.service.web.routes import SMALL_BODY, Door, Route
from mesh_refresh.telemetry import PrometheusObserver

_NAME = re.compile(r"{(\w+)}")
"""In a path. aiohttp would let it stand for a text without braces only."""


def make_app(guard: Guard, observer: PrometheusObserver | None, routes: Sequence[Route] = ()) -> web.Application:
    """An application with probes, the series of `observer` (None: without prometheus-client), and `routes`."""
    probed: set[web.AbstractRoute] = set()
    app = web.Application(middlewares=[watch_body, introduce, check_host(probed)], client_max_size=SMALL_BODY)
    app[EXPOSURE] = guard.doors.exposure
    app.on_response_prepare.append(add_headers)

    async def close_at_the_end(_: web.Request, response: web.StreamResponse) -> None:
        """Callers open their next connection to a process that stays."""
        if guard.probes.is_ending:
            response.force_close()
            response.headers["Connection"] = "close"  # aiohttp has written its headers already

    app.on_response_prepare.append(close_at_the_end)
    for route in (*own_routes(guard, observer), *routes):
        for method in (route.method, hdrs.METH_HEAD) if route.answers_head else (route.method,):
            path = _NAME.sub(r"{\1:[^/]+}", route.path)
            added = app.router.add_route(method, path, guard.protect(route))
            if route.door is Door.PROBE:
                probed.add(added)
    return app


def own_routes(guard: Guard, observer: PrometheusObserver | None) -> tuple[Route, ...]:
    """The routes that every service has."""

    async def metrics(request: web.Request) -> web.Response:
        return show_metrics(await probes.series(observer), request.headers.get(hdrs.ACCEPT, ""))

    probes = guard.probes
    return (
        Route("GET", "/livez", probes.livez, door=Door.PROBE, answers_head=True),
        Route("GET", "/readyz", probes.readyz, door=Door.PROBE, answers_head=True),
        Route("GET", "/metrics", metrics, Scope.METRICS, door=Door.METRICS, answers_head=True),
    )
