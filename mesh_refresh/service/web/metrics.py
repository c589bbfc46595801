"""``/metrics``: the series of this process."""

from typing import TYPE_CHECKING

from aiohttp import web

from mesh_refresh.service.web.problems import problem

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


def show_metrics(registry: "CollectorRegistry | None", accept: str) -> web.Response:
    """The series in `registry`, in a form that ``Accept`` wants. None: there is no prometheus-client."""
    if registry is None:
        return problem(404, "no_metrics", "Metrics need the extra: pip install 'mesh-refresh[prometheus]'")
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - an extra

    try:
        encode, media_type = choose_encoder(accept)
    except (TypeError, ValueError):  # it takes any text for a version, and then compares numbers
        encode, media_type = choose_encoder("")
    return web.Response(body=encode(registry), headers={"Content-Type": media_type})
