"""Keys and base URLs: what is wrong with them is said before any I/O, and without showing them."""

import traceback
from pathlib import Path
from typing import Any

import pytest

from mesh_refresh import (
    PRODUCTION_URL,
    SANDBOX_URL,
    DefaultStrategy,
    InvalidRequest,
    MeshClient,
    NotSent,
    StrategyRegistry,
    Tokens,
    files,
)
from mesh_refresh.strategies import VanguardStrategy
from mesh_refresh.testing import FakeMesh, ManualClock

ID, SECRET = "fake-client-id", "fake-client-secret"
BAD_KEYS = [
    "",
    " ",
    " fake-key",
    "fake-key ",
    "fake-key\n",
    "\tfake-key",
    "fake\nkey",
    "fake\x00key",
    "fäke-key",
    None,
    7,
]


@pytest.mark.parametrize("key", [*BAD_KEYS, b"fake-key", ["fake-key"]])
def test_bad_keys_are_refused_unseen(key: Any) -> None:
    """A key that cannot be right is refused by its name, and not shown."""
    for keys, name in (((key, SECRET), "client id"), ((ID, key), "client secret")):
        with pytest.raises(InvalidRequest, match=name) as caught:
            MeshClient(*keys)
        assert "key" not in str(caught.value).replace("no key has", "")
        assert "fake" not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        PRODUCTION_URL, SANDBOX_URL, PRODUCTION_URL + "/", "https://proxy.example:8443/mesh", "HTTPS://Proxy.Example",
        "http://127.0.0.1:8080", "http://127.8.9.1", "http://localhost:1", "http://LOCALHOST", "http://[::1]:8080",
    ],
)  # fmt: skip
def test_good_urls(url: str) -> None:
    """https goes anywhere, plain http to loopback only; a slash at the end is dropped."""
    assert MeshClient(ID, SECRET, base_url=url).base_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "", " ", None, 7, b"https://x", "integration-api.meshconnect.com", "//host", "https://", "https:///path",
        "https:host",
        "ftp://host", "ws://host", "file:///etc/passwd", "javascript:alert(1)", "httpss://host",
        " https://host", "https://host\n", "https://ho st", "https://host\n.evil.example", "http://127.0.0.1\t.evil.example",
        "http://host", "http://integration-api.meshconnect.com", "http://10.0.0.1", "http://127.0.0.1.evil.example",
        "http://localhost.evil.example", "http://0.0.0.0", "http://[::2]", "http://evil.example#@127.0.0.1",
        "http://localhost:1@evil.example", "http://127.0.0.1\\@evil.example", "http://127.0.0.1\\.evil.example",
        "https://user@host", "https://user:fake-password@host", "https://@host", "https://:fake-password@host",
        "https://host?x=1", "https://host#x", "https://host?", "https://host#", "https://host/?",
        "https://host:99999", "https://host:port", "https://[::1", "https://[host]",
    ],
)  # fmt: skip
def test_bad_urls(url: Any) -> None:
    """A URL that tokens must not be sent to is refused before anything is sent; a password in it is not shown."""
    with pytest.raises(InvalidRequest, match=r"base URL|https") as caught:
        MeshClient(ID, SECRET, base_url=url)
    assert "fake-password" not in str(caught.value)


def test_mix_ups_that_can_be_seen() -> None:
    """A secret that says it is for the other environment is refused, and not shown."""
    for url, secret in ((PRODUCTION_URL, "sk_sand_fake"), (SANDBOX_URL, "sk_prod_fake")):
        with pytest.raises(InvalidRequest, match="sandbox") as caught:
            MeshClient(ID, secret, base_url=url)
        assert "fake" not in str(caught.value)
    MeshClient(ID, "sk_sand_fake", base_url=SANDBOX_URL)
    MeshClient(ID, "sk_prod_fake", base_url=PRODUCTION_URL)
    MeshClient(ID, "sk_sand_fake", base_url="http://127.0.0.1:1")


@pytest.mark.parametrize("broker", ["sandbox", "sandboxCoinbase"])
async def test_sandbox_accounts_at_production(broker: str) -> None:
    """An account of the sandbox is not sent to production."""
    async with MeshClient(ID, SECRET) as mesh:
        with pytest.raises(InvalidRequest, match="sandbox"):
            await mesh.refresh(Tokens(broker, "fake-refresh"))


@pytest.mark.parametrize("secret", [*BAD_KEYS, "sk_sand_fake"])
@pytest.mark.parametrize("is_async", [False, True])
async def test_secret_callables(secret: Any, is_async: bool) -> None:
    """What a callable gives is checked like any other secret, before anything is sent."""

    async def later() -> Any:
        return secret

    async with MeshClient(ID, later if is_async else (lambda: secret)) as mesh:
        with pytest.raises(InvalidRequest, match="secret") as caught:
            await mesh.refresh(Tokens("coinbase", "fake-refresh"))
    assert "fake" not in str(caught.value)


async def test_a_secret_callable_that_fails() -> None:
    """A callable that raises means that nothing was sent; its error is the cause."""

    def broken() -> str:
        raise OSError("vault is sealed")

    async with MeshClient(ID, broken) as mesh:
        with pytest.raises(NotSent, match="OSError") as caught:
            await mesh.refresh(Tokens("coinbase", "fake-refresh"))
    assert isinstance(caught.value.__cause__, OSError)


def test_from_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and base URL come from the environment; an empty MESH_BASE_URL is none; options go first."""
    monkeypatch.setenv("MESH_CLIENT_ID", ID)
    monkeypatch.setenv("MESH_CLIENT_SECRET", SECRET)
    monkeypatch.delenv("MESH_BASE_URL", raising=False)
    assert MeshClient.from_env().base_url == PRODUCTION_URL
    monkeypatch.setenv("MESH_BASE_URL", "")
    assert MeshClient.from_env().base_url == PRODUCTION_URL
    monkeypatch.setenv("MESH_BASE_URL", SANDBOX_URL)
    assert MeshClient.from_env().base_url == SANDBOX_URL
    assert MeshClient.from_env(base_url=PRODUCTION_URL).base_url == PRODUCTION_URL


@pytest.mark.parametrize("present", [(), ("MESH_CLIENT_ID",), ("MESH_CLIENT_SECRET",)])
def test_missing_variables(monkeypatch: pytest.MonkeyPatch, present: tuple[str, ...]) -> None:
    """Every variable that is missing is named, and none that is there."""
    both = ("MESH_CLIENT_ID", "MESH_CLIENT_SECRET")
    for name in both:
        monkeypatch.setenv(name, "fake-key" if name in present else "")
    with pytest.raises(InvalidRequest) as caught:
        MeshClient.from_env()
    assert [name for name in both if name in str(caught.value)] == [name for name in both if name not in present]


@pytest.mark.parametrize("name", ["MESH_CLIENT_ID", "MESH_CLIENT_SECRET", "MESH_BASE_URL"])
def test_bad_variables(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A variable with blanks around its value is refused, and not shown."""
    for variable in ("MESH_CLIENT_ID", "MESH_CLIENT_SECRET"):
        monkeypatch.setenv(variable, "fake-key")
    monkeypatch.setenv(name, " https://fake.example ")
    with pytest.raises(InvalidRequest) as caught:
        MeshClient.from_env()
    assert "fake" not in str(caught.value)


async def test_a_secret_in_a_file_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A rotated secret goes out without a restart; a file that breaks meanwhile leaves the last good one."""
    file, clock = tmp_path / "secret", ManualClock()
    monkeypatch.setattr(files, "SystemClock", lambda: clock)
    async with FakeMesh() as fake:
        file.write_text(f"{fake.client_secret}\n")
        monkeypatch.setenv("MESH_CLIENT_ID", fake.client_id)
        monkeypatch.setenv("MESH_CLIENT_SECRET", "")
        monkeypatch.setenv("MESH_CLIENT_SECRET_FILE", str(file))
        async with MeshClient.from_env(base_url=fake.base_url) as mesh:
            await mesh.refresh(fake.login("coinbase").token)
            fake.client_secret = "fake-secret-of-tomorrow"
            file.write_text(fake.client_secret)
            clock.advance(1)
            await mesh.refresh(fake.login("coinbase").token)
            file.unlink()
            clock.advance(1)
            await mesh.refresh(fake.login("coinbase").token)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file"),
        ("", "holds no secret"),
        ("hun\nter2", "has characters that no key has"),
        ("sk_sand_hunter2", "sandbox client secret"),
    ],
)
def test_a_secret_file_that_will_not_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, says: str
) -> None:
    """It is refused at the start, and neither its name nor its content is shown."""
    file = tmp_path / "hunter2"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("MESH_CLIENT_ID", ID)
    monkeypatch.delenv("MESH_CLIENT_SECRET", raising=False)
    monkeypatch.setenv("MESH_CLIENT_SECRET_FILE", str(file))
    with pytest.raises(InvalidRequest, match=says) as caught:
        MeshClient.from_env(base_url=PRODUCTION_URL)
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("MESH_CLIENT_SECRET", SECRET)
    with pytest.raises(InvalidRequest, match="MESH_CLIENT_SECRET and MESH_CLIENT_SECRET_FILE are both set"):
        MeshClient.from_env()


def test_repr_shows_the_host() -> None:
    """The client's repr shows the host and nothing secret."""
    shown = repr(MeshClient(ID, SECRET, base_url=SANDBOX_URL + "/"))
    assert "sandbox-integration-api.meshconnect.com" in shown
    assert "fake" not in shown


async def test_strategies_of_the_clients_own() -> None:
    """A mapping adds to the shipped strategies; a registry replaces them."""
    wants_access = VanguardStrategy()
    for strategies in ({"paxos": wants_access}, StrategyRegistry().with_strategy("paxos", wants_access)):
        async with MeshClient(ID, SECRET, strategies=strategies) as mesh:
            for broker in ("paxos", "weBull"):
                with pytest.raises(InvalidRequest, match="access token"):
                    await mesh.refresh(Tokens(broker, "fake-refresh"))
    registry = StrategyRegistry({}, wants_access).with_strategy("eTrade", DefaultStrategy())
    async with MeshClient(ID, SECRET, strategies=registry) as mesh:
        with pytest.raises(InvalidRequest, match="access token"):
            await mesh.refresh(Tokens("coinbase", "fake-refresh"))
