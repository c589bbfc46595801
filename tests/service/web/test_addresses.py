"""Where a service listens: addresses, unix sockets and sockets of systemd."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mesh_refresh import InvalidRequest
from mesh_refresh.service.web import addresses
from mesh_refresh.service.web.addresses import (
    Inherited,
    TcpAddress,
    UnixAddress,
    address_of,
    open_sockets,
    parse_address,
    take_inherited,
)
from tests.cli.conftest import mode


@pytest.mark.parametrize(
    ("text", "is_local"),
    [
        ("127.0.0.1:8321", True),
        ("127.8.0.1:0", True),
        ("0.0.0.0:80", False),
        ("10.1.2.3:65535", False),
        ("[::1]:8321", True),
        ("[::]:8321", False),
        ("unix:some where", True),
        ("unix:/run/mesh-refresh/worker.sock", True),
    ],
)
def test_an_address_is_read_and_written(text: str, is_local: bool) -> None:
    address = parse_address(text)
    assert str(address) == text
    assert address.is_local is is_local


def test_localhost_is_the_loopback_address() -> None:
    assert str(parse_address("localhost:1")) == "127.0.0.1:1"


@pytest.mark.parametrize(
    "text",
    [
        *("", "8321", ":8321", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1"),
        *("::1:80", "[::1]", "1.2.3:80", "[1.2.3.4]:80", "١.0.0.1:1", "127.0.0.1:80/"),
        *("worker:80", "http://127.0.0.1:80", "unix:", "unix:a\0b"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"must be an IP address with a port"):
        parse_address(text)


def test_all_addresses_of_ipv6_are_those_of_ipv4_too() -> None:
    (sock,) = open_sockets(parse_address("[::]:0"))
    with sock, socket.create_connection(("127.0.0.1", sock.getsockname()[1])):
        assert isinstance(address_of(sock), TcpAddress)


def test_an_address_in_use_is_refused_in_words() -> None:
    (sock,) = open_sockets(parse_address("127.0.0.1:0"))
    with sock, pytest.raises(InvalidRequest, match=r"^Cannot listen on 127.0.0.1:\d+: Address already in use\."):
        open_sockets(address_of(sock))


@pytest.mark.parametrize(("given", "wanted"), [((), 0o600), ((0o660,), 0o660)])
def test_a_unix_socket_has_its_mode_before_it_listens(
    tmp_path: Path, given: tuple[int, ...], wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    seen = []
    monkeypatch.setattr(socket.socket, "listen", lambda *_: seen.append(mode(path)))
    open_sockets(UnixAddress(path, *given))[0].close()
    assert seen == [wanted]


def test_a_unix_socket_is_refused_where_a_process_listens(tmp_path: Path) -> None:
    address = UnixAddress(tmp_path / "s")
    (sock,) = open_sockets(address)
    assert address_of(sock) == address
    with sock, pytest.raises(InvalidRequest, match="another process listens there"):
        open_sockets(address)
    open_sockets(address)[0].close()  # that one is gone, and its file is stale


def test_a_file_is_not_replaced_by_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(InvalidRequest, match="there is a file that is no socket"):
        open_sockets(UnixAddress(path))
    assert path.read_text() == "mine"


def test_a_path_that_is_too_long_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"^Cannot listen on unix:/.*: AF_UNIX path too long\.$"):
        open_sockets(UnixAddress(tmp_path / ("s" * 120)))


@pytest.fixture
def descriptor(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A socket of systemd's, which is not bound."""
    sock = socket.socket()
    descriptor = sock.detach()
    os.set_inheritable(descriptor, True)  # as systemd leaves it
    monkeypatch.setattr(addresses, "_FIRST_INHERITED", descriptor)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    yield descriptor
    with suppress(OSError):
        os.close(descriptor)


def test_sockets_of_systemd_are_taken(descriptor: int) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        found = take_inherited()
        assert isinstance(found, Inherited)
        assert found.is_local
        assert "LISTEN_FDS" not in os.environ
        (taken,) = open_sockets(found)
        assert not taken.get_inheritable()
        assert address_of(taken) == address_of(sock)
        taken.detach()


def test_what_is_no_listening_socket_is_refused(descriptor: int) -> None:
    with pytest.raises(InvalidRequest, match=f"file descriptor {descriptor} is no stream socket that listens"):
        take_inherited()


def test_sockets_for_another_process_are_left(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    assert take_inherited() is None
