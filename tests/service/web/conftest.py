"""A service on a real socket, and connections to it that send any bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from mesh_refresh.service.access import Access, AccessKey
from mesh_refresh.service.service import make_guard
from mesh_refresh.service.web.addresses import TcpAddress, parse_address
from mesh_refresh.service.web.app import make_app
from mesh_refresh.service.web.exposure import Exposure
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.telemetry import PrometheusObserver


def make_probed(probes: Probes, *keys: AccessKey, **exposure: Any) -> web.Application:
    """A service with probes and the series of an observer, on loopback unless `exposure` says otherwise."""
    guard = make_guard(probes, Access(keys), Exposure(**{"is_local": True, **exposure}))
    return make_app(guard, PrometheusObserver())


@asynccontextmanager
async def serve(app: web.Application) -> AsyncIterator[int]:
    """The port of a service with `app`."""
    async with Listening(app, parse_address("127.0.0.1:0")) as listening:
        (address,) = listening.addresses
        assert isinstance(address, TcpAddress)
        yield address.port


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A service with probes and metrics, whose process is starting."""
    async with serve(make_probed(Probes())) as port:
        yield port


async def connect(port: int, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which `sent` went out."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    return reader, writer


async def exchange(port: int, sent: bytes) -> bytes:
    """All that comes back until the service ends the connection."""
    reader, writer = await connect(port, sent)
    try:
        return await reader.read()
    finally:
        writer.close()


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    """A request, after which the connection ends."""
    lines = [f"{method} {path} HTTP/1.1", *(headers or ("Host: 127.0.0.1",)), "Connection: close"]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


async def status(port: int, *parts: str) -> int:
    """The status of the answer to `get` with `parts`."""
    return int((await exchange(port, get(*parts))).split(b" ", 2)[1])
