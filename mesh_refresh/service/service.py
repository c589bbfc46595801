"""`Service`: a fleet over HTTP."""

from collections.abc import Iterable

from aiohttp import web

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper import Keeper
from mesh_refresh.service.access.access import Access
from mesh_refresh.service.access.caller import Caller
from mesh_refresh.service.access.keys import Scope
from mesh_refresh.service.access.tickets import Tickets
from mesh_refresh.service.api.problems import explain
from mesh_refresh.service.api.routes import API_ROUTES
from mesh_refresh.service.web.app import make_app
from mesh_refresh.service.web.exposure import Exposure
from mesh_refresh.service.web.guard import Doors, Guard
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.stores import PlainText
from mesh_refresh.stores.errors import package_missing
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
        if page and isinstance(keeper.cipher, PlainText):
            raise InvalidRequest(
                "The page needs a store that is sealed, which seals its sessions too. Give the store a key, or leave "
                "the page out: page=False."
            )
        exposure = Exposure(hosts=frozenset(host.lower() for host in hosts))
        self._guard = make_guard(Probes(keeper=keeper), access, exposure)
        self.app: web.Application = make_service_app(self._guard, observer, page=page)

    async def stop(self) -> None:
        """Take no more calls: they get 503 ``stopping``, as do those that wait for an exchange, which goes on.

        Returns when calls that change something, such as MFA codes, have their answers.
        """
        await self._guard.stop()


def make_guard(probes: Probes, access: Access, exposure: Exposure) -> Guard:
    """The guard of a service."""
    return Guard(Doors(access, Tickets(), exposure, _admit, explain), probes)


def make_service_app(guard: Guard, observer: PrometheusObserver | None, *, page: bool) -> web.Application:
    """The application of a service. Its keeper may come later: ``guard.probes.keeper``."""
    if not page:
        return make_app(guard, observer, API_ROUTES)
    try:
        from mesh_refresh.service.page import routes  # noqa: PLC0415 - an extra
    except ImportError:
        raise package_missing("The page", "jinja2", "service") from None
    app = make_app(guard, observer, (*API_ROUTES, *routes.PAGE_ROUTES))
    app[routes.PAGE] = routes.make_state(guard)
    return app


async def _admit(request: web.Request, scope: Scope | None) -> Caller | web.StreamResponse:
    from mesh_refresh.service.page.routes import admit  # noqa: PLC0415 - an extra, and here only if there is a page

    return await admit(request, scope)
