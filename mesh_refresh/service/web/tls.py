"""TLS of the service: a certificate and its key, read again when their files change, and the handshakes."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mesh_refresh.errors import InvalidRequest

_log = logging.getLogger("mesh_refresh.service")

_AGAIN = 0.1
"""Seconds until a socket is tried again at which nothing could be accepted."""


class Certificate:
    """A certificate chain and its key, in files of PEM.

    Each handshake has what the files hold at that moment. Where they cannot be used, or do not belong together yet,
    that is an error in the log, and the last good pair goes on.

    Raises:
        InvalidRequest: the files cannot be used now.
    """

    def __init__(self, chain: str, key: str) -> None:
        self._chain, self._key = chain, key
        self._stamp = self._look()
        self._current = self._load()
        self.context = self._load()
        """For a server. Each of its handshakes has the current pair."""
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called by each handshake, also of a client that names no host."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._current = self._load()
            except InvalidRequest as error:
                _log.error("the last good certificate goes on", extra={"reason": str(error)})
            else:
                _log.info("the certificate was read again")
        connection.context = self._current

    def _look(self) -> tuple[Any, ...]:
        """What changes when the files do. Links are followed."""
        return tuple(_stamp_of(Path(name)) for name in (self._chain, self._key))

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self._chain, self._key, password=_refuse_password)
        except (OSError, ValueError) as error:  # SSLError is an OSError
            kind = "do not hold a certificate and its key" if isinstance(error, ssl.SSLError) else "cannot be read"
            raise InvalidRequest(f"The files of --tls-cert and --tls-key {kind}.") from None
        return context


class Handshakes:
    """Accepts connections at a socket that listens, and makes the handshake of each.

    asyncio's own server has no limit for connections whose handshake has only begun: they could take every file
    descriptor from the exchanges.

    Args:
        connect: makes the protocol of a connection.
        context: of the server.
        patience: seconds for a handshake.
        has_room: whether one more connection may be accepted beside so many handshakes. Others are closed at once.
    """

    def __init__(
        self,
        connect: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
        patience: float,
        has_room: Callable[[int], bool],
    ) -> None:
        self._connect, self._context, self._patience, self._has_room = connect, context, patience, has_room
        self._under_way: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    def start(self, sock: socket.socket) -> None:
        """Begin to accept."""
        sock.setblocking(False)  # noqa: FBT003 - as the standard library has it
        self._accepting = asyncio.create_task(self._accept(sock), name="mesh_refresh tls")

    def close(self) -> None:
        """Accept no more."""
        for task in (self._accepting, *self._under_way):
            if task is not None:
                task.cancel()

    async def _accept(self, sock: socket.socket) -> None:
        with sock:
            while True:
                try:
                    accepted, _ = await asyncio.get_running_loop().sock_accept(sock)
                except OSError:  # it is gone already, or no file descriptor is left
                    await asyncio.sleep(_AGAIN)
                    continue
                if not self._has_room(len(self._under_way)):
                    accepted.close()
                    continue
                task = asyncio.create_task(self._shake_hands(accepted))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)

    async def _shake_hands(self, accepted: socket.socket) -> None:
        with suppress(OSError):  # its peer speaks no TLS, or not in time
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connect, accepted, ssl=self._context, ssl_handshake_timeout=self._patience
            )


def _stamp_of(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _refuse_password() -> str:
    """In place of a question at the terminal, where OpenSSL would wait."""
    raise ValueError
