"""A service with the page, over `FakeMesh`, and a person who looks at it without a browser."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, CookieJar
from attrs import define, frozen

from mesh_refresh import MfaPending
from mesh_refresh.keeper import Keeper
from mesh_refresh.service.access import Access, AccessKey, Scope
from mesh_refresh.service.access.keys import write_keys
from mesh_refresh.service.access.tickets import Tickets
from mesh_refresh.service.page.state import PAGE, PageState
from mesh_refresh.service.service import Service
from mesh_refresh.service.web.addresses import parse_address
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.stores import Cipher, MemoryStore, Store
from mesh_refresh.testing import FakeMesh

ALL = tuple(Scope)


@define
class Person:
    """One browser's cookies, and what it was shown last."""

    url: str
    session: ClientSession
    html: str = ""

    async def get(self, path: str, **options: Any) -> ClientResponse:
        """What stands at `path`."""
        return await self._seen(await self.session.get(self.url + path, **options))

    async def post(self, path: str, *, origin: str | None = "", **fields: str) -> ClientResponse:
        """What comes back for a form of the page that was shown last."""
        headers = {} if origin is None else {"Origin": origin or self.url}
        data = {"form": self.token, **fields}
        return await self._seen(await self.session.post(self.url + path, data=data, headers=headers))

    @property
    def token(self) -> str:
        """The token in the forms that were shown last."""
        found = re.search(r'name="form" value="([^"]+)"', self.html)
        return found[1] if found else ""

    @property
    def text(self) -> str:
        """What was shown last, without tags."""
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", self.html)).split())

    @property
    def facts(self) -> dict[str, str]:
        """What the page of a login says of its account."""
        return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", self.html))

    async def sign_in(self, key: str) -> ClientResponse:
        """By `key`."""
        await self.get("/sign-in")
        return await self.post("/sign-in", key=key, to="/")

    async def _seen(self, response: ClientResponse) -> ClientResponse:
        self.html = await response.text()
        return response


@frozen
class Shown:
    """A service whose page can be looked at."""

    url: str
    keeper: Keeper
    fake: FakeMesh
    store: Store
    access: Access
    file: Path
    """Of `access`."""
    service: Service
    page: PageState

    @property
    def tickets(self) -> Tickets:
        """Those of this process."""
        return self.page.doors.tickets

    def key(self, *scopes: Scope, name: str = "dana", **limits: Any) -> str:
        """A key that opens the service from now on."""
        kept, key = AccessKey.generate(name, scopes or ALL, **limits)
        self.keep(*(it for it in self.access.keys if it.name != name), kept)
        return key

    def keep(self, *keys: AccessKey) -> None:
        """From now on these keys are all there are."""
        self.file.write_text(write_keys(keys))

    @asynccontextmanager
    async def person(self, key: str | None = None) -> AsyncIterator[Person]:
        """Somebody with a browser; with `key` she has signed in."""
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
            person = Person(self.url, session)
            if key is not None:
                assert (await person.sign_in(key)).status == 200
            yield person


@asynccontextmanager
async def showing(store: Store | None = None, **options: Any) -> AsyncIterator[Shown]:
    """A service on loopback. Its keeper has no loop, unless `options` say so."""
    store = MemoryStore(cipher=Cipher([Cipher.generate_key()])) if store is None else store
    with TemporaryDirectory() as folder:
        file = Path(folder) / "access.toml"
        file.touch(0o600)
        access = Access.open(file)
        async with (
            FakeMesh() as fake,
            fake.client() as mesh,
            Keeper(mesh, store, **{"background": False, "role": "serve", **options}) as keeper,
        ):
            service = Service(keeper, access)
            async with Listening(service.app, parse_address("127.0.0.1:0")) as listening:
                url = f"http://{listening.addresses[0]}"
                yield Shown(url, keeper, fake, store, access, file, service, service.app[PAGE])


async def park(shown: Shown, login_id: str = "v-1") -> str:
    """Make `login_id` a login at Vanguard that waits for a code. Returns the code."""
    login = shown.fake.login("vanguard", mfa=True)
    await shown.keeper.add(login_id, login.token)
    with pytest.raises(MfaPending):
        await shown.keeper.refresh(login_id, max_wait=timedelta(seconds=10))
    return login.code
