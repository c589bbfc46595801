"""The service over a fake Mesh, with a login in each state."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta

from mesh_refresh import MeshClient
from mesh_refresh.cli.fleet.support.listen_options import make_observer
from mesh_refresh.cli.sandbox.states import LOGINS, add_logins
from mesh_refresh.keeper import Keeper, Policy
from mesh_refresh.service import Access, AccessKey, Scope
from mesh_refresh.service.service import make_guard, make_service_app
from mesh_refresh.service.web.addresses import parse_address
from mesh_refresh.service.web.exposure import Exposure
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.stores import Cipher, MemoryStore
from mesh_refresh.telemetry import PrometheusObserver
from mesh_refresh.testing import Edge, FakeMesh
from mesh_refresh.testing.fake.serve import add_control_routes


def _keeper(mesh: MeshClient, store: MemoryStore, observer: PrometheusObserver | None) -> Keeper:
    """A keeper that lets a person reject tokens as often as they like."""
    return Keeper(mesh, store, policy=Policy(min_interval=timedelta()), role="sandbox", observer=observer)


async def serve_states(fake: FakeMesh, edge: Edge | None, port: int, say: Callable[[str], object]) -> None:
    """Run `fake`, perhaps behind an `edge`, and the service over it on `port` of loopback, until cancelled.

    `say` is given what a person needs to try it. Raises `InvalidRequest` where it cannot listen there.
    """
    logging.getLogger("mesh_refresh").addHandler(logging.NullHandler())  # its logins fail on purpose
    add_control_routes(fake)
    kept, key = AccessKey.generate("sandbox", Scope)
    observer = make_observer()
    store = MemoryStore(clock=fake.clock, cipher=Cipher([Cipher.generate_key()]))
    async with fake, edge or nullcontext():
        async with fake.client() as direct, Keeper(direct, store, background=False, role=None) as keeper:
            coded = await add_logins(fake, keeper, store)
        async with fake.client(base_url=(edge or fake).base_url) as mesh, _keeper(mesh, store, observer) as keeper:
            guard = make_guard(Probes(keeper=keeper), Access([kept]), Exposure(is_local=True))
            app = make_service_app(guard, observer, page=True)
            async with Listening(app, parse_address(f"127.0.0.1:{port}")) as listening:
                say(_greeting(f"http://{listening.addresses[0]}", key, f"{fake.base_url}/sandbox/logins/{coded.id}"))
                try:
                    await asyncio.Event().wait()
                finally:
                    await guard.stop()


def _greeting(url: str, key: str, coded: str) -> str:
    logins = "\n".join(f"  {login_id:20} {words}" for login_id, words in LOGINS.items())
    return f"""The service is listening over it, with fake logins.

  MESH_REFRESH_URL={url}
  MESH_REFRESH_ACCESS_KEY={key}

Its logins, and what GET {url}/v1/logins/LOGIN/tokens answers:
{logins}

Fresh tokens:
  curl -s {url}/v1/logins/active/tokens -H "Authorization: Bearer $MESH_REFRESH_ACCESS_KEY"

Others, where a broker refused those; version is that of the answer before:
  curl -s {url}/v1/logins/active/tokens/rejected -H "Authorization: Bearer $MESH_REFRESH_ACCESS_KEY" \\
    -H 'Content-Type: application/json' -d '{{"version": "..."}}'

The code that mfa-required waits for, and how to send it:
  curl -s {coded}
  curl -s {url}/v1/logins/mfa-required/mfa -H "Authorization: Bearer $MESH_REFRESH_ACCESS_KEY" \\
    -H 'Content-Type: application/json' -d '{{"code": "..."}}'

The operator's page, where that key logs in:
  {url}/

Everything else:
  curl -s {url}/openapi.json
"""
