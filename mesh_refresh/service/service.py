"""`Service`: a fleet over HTTP."""

from collections.abc import Iterable

from aiohttp import web

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper import Keeper
from mesh_refresh.service.access.access import Access
from mesh_refresh.service.access.tickets import Tickets
from mesh_refresh.service.api.problems import explain
from mesh_refresh.service.api.routes import API_ROUTES
from mesh_refresh.service.page.routes import PAGE_ROUTES, admit
from mesh_refresh.service.page.state import PAGE, PageState, check_sealed
from mesh_refresh.service.web.app import make_app
from mesh_refresh.service.web.exposure import Exposure
from mesh_refresh.service.web.guard import Doors, Guard
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.telemetry import PrometheusObserver


class Service:
    """A keeper's fleet over HTTP: probes, metrics, the API and the operator's page.

    `app` is an `aiohttp.web.Application`, to run or to mount in another one. ``mesh-refresh serve`` runs it with limits
    of its own for slow and many connections. Where you run it yourself, start the runner with
    ``handler_cancellation=True``, so that a caller who hangs up ends its wait, and await `stop` before you leave the
    keeper.

    Args:
        keeper: what serves the calls. You enter and leave it.
        access: the keys that open the API and the page.
        page: False leaves the operator's page out.
        hosts: names under which the service is reached, beside IP addresses and ``localhost``. Requests with another
            ``Host`` are refused, because a web page can make a browser ask here under a name of its own.
        observer: its series are shown at ``/metrics`` to callers with a key of the scope ``metrics``.

    Raises:
        InvalidRequest: an argument is not of its kind.
    """

    def __init__(
        self,
        keeper: Keeper,
        access: Access,
        *,
        page: bool = True,
        hosts: Iterable[str] = (),
        observer: PrometheusObserver | None = None,
    ) -> None:
        if not isinstance(keeper, Keeper) or not isinstance(access, Access):
            raise InvalidRequest("Service takes a Keeper and an Access.")
        if isinstance(hosts, str):
            raise InvalidRequest("hosts takes several names: a list of them.")
        if page:
            check_sealed(keeper)
        exposure = Exposure(hosts=frozenset(host.lower() for host in hosts))
        self._guard = make_guard(Probes(keeper=keeper), access, exposure)
        self.app: web.Application = make_service_app(self._guard, observer, page=page)

    async def stop(self) -> None:
        """Take no more calls: they get 503 ``stopping``, as do those that wait for an exchange, which goes on.

        Returns when calls that change something, such as MFA codes, have their answers.
        """
        self._guard.probes.is_ending = True
        await self._guard.stop()


def make_guard(probes: Probes, access: Access, exposure: Exposure) -> Guard:
    """The guard of a service."""
    return Guard(Doors(access, Tickets(), exposure, admit, explain), probes)


def make_service_app(guard: Guard, observer: PrometheusObserver | None, *, page: bool) -> web.Application:
    """The application of a service. Its keeper may come later: ``guard.probes.keeper``."""
    app = make_app(guard, observer, (*API_ROUTES, *(PAGE_ROUTES if page else ())))
    app[PAGE] = PageState(guard.doors, guard.probes, tuple(route.path for route in PAGE_ROUTES))
    return app
