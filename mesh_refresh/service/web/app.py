"""The application of a service: its routes, and what each answer has."""

from aiohttp import web

from mesh_refresh.service.web.connection import watch_body
from mesh_refresh.service.web.metrics import Metrics
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.service.web.replies import add_headers


def make_app(probes: Probes, metrics: Metrics) -> web.Application:
    """An application with probes and metrics."""
    app = web.Application(middlewares=[watch_body])
    app.on_response_prepare.append(add_headers)
    app.add_routes(
        [
            web.get("/livez", probes.livez),
            web.get("/readyz", probes.readyz),
            web.get("/metrics", metrics.answer),
        ]
    )
    return app
