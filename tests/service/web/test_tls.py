"""TLS: handshakes that do not come take no more room than connections may, and end."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from mesh_refresh import InvalidRequest
from mesh_refresh.service.web import listening
from mesh_refresh.service.web.addresses import TcpAddress, parse_address
from mesh_refresh.service.web.connection import ServedConnection
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.service.web.tls import Certificate
from tests.service.web.conftest import get, make_probed


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> Certificate:
    issued = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(issued.cert_chain_pems[0].bytes())
    key.write_bytes(issued.private_key_pem.bytes())
    return Certificate(str(chain), str(key))


@pytest.fixture
async def port(certificate: Certificate) -> AsyncIterator[int]:
    app = make_probed(Probes())
    async with Listening(app, parse_address("127.0.0.1:0"), certificate.context) as listens:
        (address,) = listens.addresses
        assert isinstance(address, TcpAddress)
        yield address.port


async def ask(port: int, authority: trustme.CA) -> bytes:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(get("/livez"))
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_handshakes_that_do_not_come_have_a_limit(
    port: int, authority: trustme.CA, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Listening, "limit", 2)
    monkeypatch.setattr(listening, "_TOLD", 1)
    app = make_probed(Probes())
    async with Listening(app, parse_address("127.0.0.1:0"), certificate.context) as listens:
        (address,) = listens.addresses
        assert isinstance(address, TcpAddress)
        silent = [await asyncio.open_connection("127.0.0.1", address.port) for _ in range(3)]
        reader, beyond = await asyncio.open_connection("127.0.0.1", address.port)
        assert not await reader.read()  # closed at once
        for _, writer in (*silent, (reader, beyond)):
            writer.close()
            await writer.wait_closed()
        while True:  # the room of those that have gone comes back
            try:
                assert b"200 OK" in await ask(address.port, authority)
                break
            except (ConnectionError, ssl.SSLError):
                continue


async def test_a_handshake_that_does_not_come_ends(
    certificate: Certificate, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServedConnection, "patience", 0.05)
    async with Listening(make_probed(Probes()), parse_address("127.0.0.1:0"), certificate.context) as listens:
        (address,) = listens.addresses
        assert isinstance(address, TcpAddress)
        for sent in (b"", b"GET /livez HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
            writer.write(sent)
            assert b"200" not in await reader.read()
            writer.close()


async def test_a_service_that_ends_leaves_its_handshakes(certificate: Certificate) -> None:
    async with Listening(make_probed(Probes()), parse_address("127.0.0.1:0"), certificate.context) as listens:
        (address,) = listens.addresses
        assert isinstance(address, TcpAddress)
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
    assert not await reader.read()
    writer.close()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", address.port)


async def test_an_answer_over_tls(port: int, authority: trustme.CA) -> None:
    assert b"200 OK" in await ask(port, authority)


@pytest.mark.parametrize(("chain", "key"), [("none", "key.pem"), ("key.pem", "key.pem"), ("chain.pem", "other.pem")])
@pytest.mark.usefixtures("certificate")
def test_files_that_cannot_be_used_are_refused(chain: str, key: str, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(trustme.CA().issue_cert("127.0.0.1").private_key_pem.bytes())
    with pytest.raises(InvalidRequest, match="--tls-cert"):
        Certificate(str(tmp_path / chain), str(tmp_path / key))
