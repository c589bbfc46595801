"""TLS of the service: a certificate and its key, read again when their files change."""

import logging
import ssl
from pathlib import Path
from typing import Any

from mesh_refresh.errors import InvalidRequest

_log = logging.getLogger("mesh_refresh.service")


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


def _stamp_of(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _refuse_password() -> str:
    """In place of a question at the terminal, where OpenSSL would wait."""
    raise ValueError
