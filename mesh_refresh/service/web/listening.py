"""Listens on sockets, and serves an application on them."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Self, cast

from aiohttp import web

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.service.web.addresses import Address, Inherited, UnixAddress, address_of, open_sockets, remove_stale
from mesh_refresh.service.web.connection import ServedConnection
from mesh_refresh.service.web.descriptors import fit_to_descriptors
from mesh_refresh.service.web.tls import Handshakes

_log = logging.getLogger("mesh_refresh.service")

_SHUTDOWN = 1.0
"""Seconds that requests under way have at the end. What they wait for is over by then."""

_TOLD = 16
"""Connections beyond the limit that are told so over TLS; more are closed before their handshake."""


class Listening:
    """An async context manager: while it is entered, `app` is served at `place`."""

    limit = 1000
    """Connections at the same time; more are answered with 503."""

    def __init__(
        self,
        app: web.Application,
        place: Address | Inherited,
        context: ssl.SSLContext | None = None,
        admits: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`context` is for TLS. Connections of peers that `admits` gives False for are closed."""
        self._runner = web.AppRunner(app, shutdown_timeout=_SHUTDOWN, handler_cancellation=True)
        self._place, self._context, self._admits = place, context, admits
        self._servers: list[asyncio.Server | Handshakes] = []
        self._connections: set[ServedConnection] = set()
        self.addresses: list[Address] = []
        """Where it listens."""

    async def __aenter__(self) -> Self:
        sockets = open_sockets(self._place)
        await self._runner.setup()
        server = cast("web.Server", self._runner.server)
        limit = fit_to_descriptors(self.limit)
        connect = partial(ServedConnection, server, self._connections, limit, self._admits)
        for sock in sockets:
            self.addresses.append(address_of(sock))
            if self._context is None:
                self._servers.append(await asyncio.get_running_loop().create_server(connect, sock=sock))
                continue
            handshakes = Handshakes(
                connect,
                self._context,
                ServedConnection.patience,
                has_room=lambda under_way: under_way + len(self._connections) < limit + _TOLD,
            )
            handshakes.start(sock)
            self._servers.append(handshakes)
        _log.info("listening", extra={"addresses": " ".join(map(str, self.addresses))})
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        await self._runner.cleanup()
        if isinstance(self._place, UnixAddress):
            with suppress(OSError, InvalidRequest):
                remove_stale(self._place.path)
