"""The API over a fake Mesh whose clock the test moves."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from attrs import frozen
from yarl import URL

from mesh_refresh.cli.sandbox.states import add_logins
from mesh_refresh.keeper import Keeper
from mesh_refresh.service.access import AccessKey
from mesh_refresh.service.api.routes import API_ROUTES
from mesh_refresh.stores import MemoryStore
from mesh_refresh.testing import FakeMesh, ManualClock
from tests.service.serving import Served, bearer, make_key, serving

_ALL = object()


@frozen
class Reply:
    """An answer."""

    status: int
    body: Any
    """The document, or the text of what is none."""
    text: str
    headers: Any

    @property
    def reason(self) -> Any:
        return self.body["reason"]


@frozen
class Api:
    """A service with all routes of the API."""

    served: Served
    fake: FakeMesh
    store: MemoryStore
    key: str
    """It has every scope."""

    @property
    def keeper(self) -> Keeper:
        return self.served.keeper

    def advance(self, **span: float) -> None:
        assert isinstance(self.fake.clock, ManualClock)
        self.fake.clock.advance(timedelta(**span))

    async def call(
        self,
        method: str,
        path: str,
        document: Any = _ALL,
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> Reply:
        """`document` is sent as JSON, `data` as it is. `path` is sent to the letter."""
        sent = {**bearer(self.key if key is None else key), **(headers or {})}
        if document is not _ALL:
            data, sent = json.dumps(document).encode(), {"Content-Type": "application/json", **sent}
        url = URL(self.served.url + path, encoded=True)
        skip = [] if "Content-Type" in sent else ["Content-Type"]
        async with self.served.session.request(
            method, url, data=None if data is None else BytesIO(data), headers=sent, skip_auto_headers=skip
        ) as response:
            text = (await response.read()).decode()
        is_json = "json" in response.headers.get("Content-Type", "") and text
        return Reply(response.status, json.loads(text) if is_json else text, text, response.headers)


@asynccontextmanager
async def serve_api(*keys: AccessKey, **options: Any) -> AsyncIterator[Api]:
    """A service with a key for all, and `keys`."""
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    kept, key = make_key(name="all")
    async with FakeMesh(clock=clock) as fake, serving(fake, API_ROUTES, kept, *keys, store=store, **options) as served:
        yield Api(served, fake, store, key)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serve_api() as found:
        yield found


@pytest.fixture
async def states(api: Api) -> Api:
    """With a login in each state."""
    await add_logins(api.fake, api.keeper, api.store)
    return api
