"""The clients that are compared do what they are compared for."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mesh_refresh.testing import FakeMesh
from tests.benchmarks import rivals
from tests.benchmarks.clients import CLIENT_ID, CLIENT_SECRET, CLIENTS, Make


@pytest.fixture
async def fake() -> AsyncIterator[FakeMesh]:
    fake = FakeMesh()
    fake.client_id, fake.client_secret = CLIENT_ID, CLIENT_SECRET
    async with fake:
        yield fake


@pytest.fixture(autouse=True)
def authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """httpx reads the file of authorities that is named here: the tests name an empty one."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


async def refreshes(make: Make, fake: FakeMesh) -> None:
    """Twice, the second time with what the first time brought."""
    async with make(fake.base_url) as refresh:
        spent = fake.login("coinbase").token.refresh_token
        assert spent
        first = await refresh(spent)
        assert first
        second = await refresh(first)
    assert second
    assert not fake.is_live(first)
    assert fake.is_live(second)


@pytest.mark.parametrize("name", CLIENTS)
async def test_it_refreshes(name: str, fake: FakeMesh) -> None:
    """Each client spends the token that it is given, and gives the one that came for it."""
    await refreshes(CLIENTS[name], fake)


@pytest.mark.parametrize("name", ["aiosonic", "niquests", "pyreqwest"])
async def test_a_peer_does_too(name: str, fake: FakeMesh, tmp_path: Path) -> None:
    """An HTTP client as it comes."""
    pytest.importorskip(name, reason="it is in the extra bench; `nox -s bench` runs this first")
    await refreshes(rivals.rivals(tmp_path)[name], fake)


@pytest.mark.parametrize(
    ("needs", "generate", "name"),
    [
        ("openapi_python_client", rivals.generate_on_httpx, rivals.HTTPX),
        ("openapi_generator_cli", rivals.generate_on_aiohttp, rivals.AIOHTTP),
    ],
)
async def test_a_generated_one_does_too(
    needs: str, generate: Callable[[Path], None], name: str, fake: FakeMesh, tmp_path: Path
) -> None:
    """A client generated from the contract refreshes like the others."""
    pytest.importorskip(needs, reason="it is in the extra bench; `nox -s bench` runs this first")
    generate(tmp_path)
    await refreshes(rivals.rivals(tmp_path)[name], fake)
