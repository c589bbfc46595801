"""Where the service listens: addresses as people write them, and the sockets for them."""

import os
import re
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import ClassVar

from attrs import frozen

from mesh_refresh.errors import InvalidRequest

DEFAULT_ADDRESS = "127.0.0.1:8321"

_FORM = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>[0-9.]+|localhost)):(?P<port>\d{1,5})")
_BACKLOG = 128
"""Connections that may wait in the kernel until the event loop accepts them."""
_FIRST_INHERITED = 3
"""The first file descriptor that systemd hands over: sd_listen_fds(3)."""
_ANSWERS_WITHIN = 1.0
"""Seconds that a connection to a socket's path may take. In use it is in any case, if it takes longer."""


@frozen
class TcpAddress:
    """An IP address and a port; port 0 is any free one."""

    host: IPv4Address | IPv6Address
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.host.version == 6 else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only processes of this machine reach it."""
        return self.host.is_loopback


@frozen
class UnixAddress:
    """The path of a unix socket, and the mode of its file."""

    path: Path
    mode: int = 0o600
    is_local: ClassVar[bool] = True

    def __str__(self) -> str:
        return f"unix:{self.path}"


@frozen
class Inherited:
    """Sockets that listen already: systemd has opened them."""

    sockets: Sequence[socket.socket]

    @property
    def is_local(self) -> bool:
        """Whether only processes of this machine reach any of them."""
        return all(address_of(sock).is_local for sock in self.sockets)


Address = TcpAddress | UnixAddress


def parse_address(text: str) -> Address:
    """Read ``127.0.0.1:8321``, ``[::1]:8321`` or ``unix:PATH``. Raises `InvalidRequest` for other text."""
    if text.startswith("unix:") and text != "unix:" and "\0" not in text:
        return UnixAddress(Path(text.removeprefix("unix:")))
    found = _FORM.fullmatch(text)
    try:
        if found is None or int(found["port"]) > 65535:
            raise ValueError
        host = found["six"] or found["four"].replace("localhost", "127.0.0.1")
        return TcpAddress(IPv6Address(host) if found["six"] else IPv4Address(host), int(found["port"]))
    except ValueError:
        raise InvalidRequest(
            "The address to listen on must be an IP address with a port, as 127.0.0.1:8321 or [::1]:8321, or unix:PATH."
        ) from None


def open_sockets(place: Address | Inherited) -> Sequence[socket.socket]:
    """Sockets that listen at `place`. A unix socket that no process listens on any more is replaced.

    Raises `InvalidRequest` where the address cannot be used.
    """
    if isinstance(place, Inherited):
        return place.sockets
    try:
        return [_open_tcp(place) if isinstance(place, TcpAddress) else _open_unix(place)]
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)  # "AF_UNIX path too long" has no number
        raise InvalidRequest(f"Cannot listen on {place}: {reason}.") from None


def take_inherited() -> Inherited | None:
    """The sockets that systemd hands over to this process (``LISTEN_FDS``). Child processes do not see the variables.

    Raises `InvalidRequest` where one of them is no socket that listens.
    """
    pid, count, _ = (os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal() or not int(count):
        return None
    return Inherited([_adopt(_FIRST_INHERITED + number) for number in range(int(count))])


def address_of(sock: socket.socket) -> Address:
    """The address of `sock`, which `parse_address` reads, and so does ``mesh-refresh health``."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return UnixAddress(Path(os.fsdecode(name)))
    return TcpAddress(ip_address(name[0]), name[1])


def remove_stale(path: Path) -> bool:
    """Remove a socket that no process listens on. Returns False where there is none.

    Raises `InvalidRequest` where the path is in use.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(found.st_mode):
        raise InvalidRequest(f"Cannot listen on unix:{path}: there is a file that is no socket.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWERS_WITHIN)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return True
        except TimeoutError:
            pass
    raise InvalidRequest(f"Cannot listen on unix:{path}: another process listens there.")


def _adopt(descriptor: int) -> socket.socket:
    with suppress(OSError):
        sock = socket.socket(fileno=descriptor)
        if sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.set_inheritable(False)
            return sock
        sock.close()
    raise InvalidRequest(f"LISTEN_FDS: file descriptor {descriptor} is no stream socket that listens.")


def _open_tcp(address: TcpAddress) -> socket.socket:
    is_six = address.host.version == 6
    # [::] is all addresses of the machine, those of IPv4 too.
    both = is_six and address.host.is_unspecified and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if is_six else socket.AF_INET
    place = (str(address.host), address.port)
    return socket.create_server(place, family=family, backlog=_BACKLOG, dualstack_ipv6=both)


def _open_unix(address: UnixAddress) -> socket.socket:
    remove_stale(address.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(address.path))
        address.path.chmod(address.mode)  # before it listens
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
