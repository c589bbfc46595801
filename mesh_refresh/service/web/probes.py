"""``/livez`` and ``/readyz``: what a supervisor asks of a process before it restarts it, or sends calls to it."""

from aiohttp import web
from attrs import define, field

from mesh_refresh.keeper import Keeper
from mesh_refresh.service.web.metrics import Collecting
from mesh_refresh.telemetry import PrometheusObserver


@define
class Probes:
    """How far a process is. The answers await nothing, so they come while a store hangs."""

    stage: str = "the process is starting"
    """What it does before its keeper works, in words."""
    keeper: Keeper | None = None
    """Set once it is entered."""
    is_ending: bool = field(default=False, init=False)
    """No more calls may be sent here. What is under way is finished, and a restart would break that off."""

    @property
    def has_started(self) -> bool:
        """Whether the start is over."""
        return self.keeper is not None

    @property
    def alive(self) -> bool:
        """False: only a restart helps."""
        return self.keeper is None or self.is_ending or self.keeper.health().alive

    @property
    def ready(self) -> bool:
        """Whether calls may be sent here."""
        return self.keeper is not None and not self.is_ending and self.keeper.health().ready

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, in words. Some problems, as a halt, leave a process ready."""
        if self.is_ending:
            return ("the process is ending",)
        if self.keeper is None:
            return (self.stage,)
        health = self.keeper.health()
        return health.problems or (() if health.ready else ("the keeper is being left",))

    async def series(self, observer: PrometheusObserver | None) -> Collecting | None:
        """What a scrape gives: the series of `observer`. None: there is no prometheus-client."""
        return None if observer is None else observer.registry

    async def livez(self, _: web.Request) -> web.Response:
        """Liveness."""
        is_alive = self.alive
        return web.json_response({"alive": is_alive}, status=200 if is_alive else 503)

    async def readyz(self, _: web.Request) -> web.Response:
        """Readiness."""
        is_ready = self.ready
        return web.json_response({"ready": is_ready, "problems": self.problems}, status=200 if is_ready else 503)
