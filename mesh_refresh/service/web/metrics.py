"""``/metrics``: the series of this process, or of several."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from aiohttp import web
from attrs import frozen

from mesh_refresh.service.web.problems import problem

if TYPE_CHECKING:
    from prometheus_client import Metric


class Collecting(Protocol):
    """A registry of prometheus-client, or what its encoders take for one."""

    def collect(self) -> "Iterable[Metric]":
        """All series."""
        ...


def show_metrics(registry: Collecting | None, accept: str) -> web.Response:
    """The series in `registry`, in a form that ``Accept`` wants. None: there is no prometheus-client."""
    if registry is None:
        return problem(404, "no_metrics", "Metrics need the extra: pip install 'mesh-refresh[prometheus]'")
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - an extra

    try:
        encode, media_type = choose_encoder(accept)
    except (TypeError, ValueError):  # it takes any text for a version, and then compares numbers
        encode, media_type = choose_encoder("")
    return web.Response(body=encode(registry), headers={"Content-Type": media_type})


@frozen
class JoinedSeries:
    """The series of several processes."""

    families: "Iterable[Metric]"

    def collect(self) -> "Iterable[Metric]":
        """All of them."""
        return self.families


def join_series(texts: Mapping[str, str]) -> JoinedSeries:
    """The series in `texts`, each as a process with that name has exported it, with a label `process` more."""
    from prometheus_client import Metric  # noqa: PLC0415 - an extra
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - an extra

    joined: dict[str, Metric] = {}
    for process, text in texts.items():
        for family in text_string_to_metric_families(text):
            into = joined.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                into.add_sample(sample.name, {**sample.labels, "process": process}, sample.value)
    return JoinedSeries(joined.values())
