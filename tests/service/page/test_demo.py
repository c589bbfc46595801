"""``mesh-refresh demo --page``: the demo's fleet on the page, while it runs."""

import asyncio
import sys

import pytest
from aiohttp import ClientSession, CookieJar
from yarl import URL

from tests.service.page.fleet import Person

pytestmark = pytest.mark.once


async def test_the_demo_shows_its_fleet() -> None:
    """With its worker, which is another process; the address opens the page once."""
    command = [sys.executable, "-m", "mesh_refresh", "demo", "--page"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        address = URL((await process.stdout.readline()).split()[-1].decode())
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
            person = Person(str(address.origin()), session)
            await person.get(address.path)
            assert (await person.post("/sign-in", ticket=address.name, to="/")).status == 200
            while not ("coinbase" in person.text and "demo" in person.text and " run " in person.text):
                await asyncio.sleep(0.2)  # another process begins to work: no event of this one says when
                assert (await person.get("/")).status == 200
            assert "Logins 14 at 14 brokers" in person.text
    finally:
        process.kill()
        await process.communicate()
