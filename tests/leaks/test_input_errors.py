"""Bad input: the error that it gets, with all that a traceback shows of our own frames."""

import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from multidict import MultiDict

from mesh_refresh import AiohttpTransport, InvalidRequest, MeshClient, MfaRequired, Tokens
from mesh_refresh.masking import concealed
from mesh_refresh.strategies import DefaultStrategy, RefreshOptions, WeBullStrategy
from tests.codec.stored_payloads import Document, redis_hash
from tests.leaks.test_shown_values import continuation
from tests.leaks.witness import KEYS, TOKENS, Witness, outcome_of, planted

SECRET = planted("secret")
ODD = [SECRET.encode(), [SECRET], {"a": SECRET}, (SECRET,), 7]
FIELDS = ["refresh_token", "access_token", "trade_token", "token_id", "metadata", "ref"]
GOOD: dict[str, Any] = {"refresh_token": SECRET, "access_token": SECRET, "metadata": {"a": SECRET}}
LINK = {"brokerType": "coinbase", "accountTokens": [{"accessToken": SECRET, "refreshToken": SECRET}]}


def look(witness: Witness, call: Callable[[], object]) -> None:
    """Whatever `call` raises is looked at."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
        witness.look_at(error)


@pytest.mark.parametrize("name", FIELDS)
def test_tokens_of_wrong_types(witness: Witness, name: str) -> None:
    """A wrong type for one field shows neither it nor the others."""
    for wrong in [*ODD, {1: SECRET}, {"a": 7, "b": SECRET}]:
        look(witness, lambda wrong=wrong: Tokens("coinbase", **{**GOOD, name: wrong}))  # type: ignore[misc]


def test_tokens_with_wrong_times(witness: Witness) -> None:
    """A time that is none shows no token."""
    for wrong in ("soon", 7, datetime(2026, 1, 1)):  # noqa: DTZ001 - meant
        look(witness, lambda wrong=wrong: Tokens("coinbase", **GOOD, expires_at=wrong))  # type: ignore[misc]


def test_tokens_without_a_broker(witness: Witness) -> None:
    """A broker that is none shows no token, even where it is one."""
    for broker in ("", None, 7, SECRET.encode(), [SECRET]):
        look(witness, lambda broker=broker: Tokens(broker, **GOOD))  # type: ignore[misc]


def test_tokens_beyond_the_calendar(witness: Witness) -> None:
    """A moment that UTC does not have shows no token."""
    look(witness, lambda: Tokens.from_json(json.dumps({**document(), "expires_at": "9999-12-31T23:59:59-01:00"})))


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(TOKENS.to_json())
    return found


DAMAGE = [None, 7, -1.5, [], {}, [SECRET], {"a": SECRET}, {"a": [SECRET]}]
PLAIN = {"format", "version", "expires_at", "account_id"}
"""Where no secret stands, however damaged a document is."""


@pytest.mark.parametrize("name", [*document(), "expires_at", "format", "version"])
def test_damaged_tokens_documents(witness: Witness, name: str) -> None:
    """A damaged tokens document shows nothing of itself."""
    for wrong in DAMAGE[:5] if name in PLAIN else DAMAGE:
        text = json.dumps({**document(), name: wrong})
        look(witness, lambda text=text: Tokens.from_json(text))  # type: ignore[misc]
        look(witness, lambda text=text: Tokens.from_json(text[:-5]))  # type: ignore[misc]


@pytest.mark.parametrize("name", json.loads(continuation().to_json()))
def test_damaged_continuations(witness: Witness, name: str) -> None:
    """A damaged continuation shows nothing of itself."""
    whole = json.loads(continuation().to_json())
    for wrong in DAMAGE[:5] if name in PLAIN else DAMAGE:
        text = json.dumps({**whole, name: wrong})
        look(witness, lambda text=text: MfaRequired.from_json(text))  # type: ignore[misc]
        look(witness, lambda text=text: MfaRequired.from_json(text[:-5]))  # type: ignore[misc]


@pytest.mark.parametrize("read", [Tokens.from_json, MfaRequired.from_json, Tokens.from_link])
def test_documents_of_wrong_types(witness: Witness, read: Callable[[Any], object]) -> None:
    """What is no text of ours is refused unseen."""
    for wrong in [
        *ODD,
        SECRET,
        f'"{SECRET}',
        f'["{SECRET}"]',
        TOKENS,
        TOKENS.to_json(),
        continuation(),
        f"\ud800{SECRET}",
    ]:
        look(witness, lambda wrong=wrong: read(wrong))  # type: ignore[misc]


@pytest.mark.parametrize("name", ["brokerType", "accountTokens", "expiresInSeconds", "refreshToken", "delayedAuth"])
def test_damaged_link_payloads(witness: Witness, name: str) -> None:
    """A damaged payload shows nothing of itself, as a mapping or as text."""
    for wrong in DAMAGE:
        for payload in ({**LINK, name: wrong}, {name: wrong, "note": SECRET}):
            look(witness, lambda payload=payload: Tokens.from_link(payload))  # type: ignore[misc]
            look(witness, lambda payload=payload: Tokens.from_link(json.dumps(payload)))  # type: ignore[misc]
    for moment in (datetime(2026, 1, 1), "soon", datetime.max.replace(tzinfo=UTC)):  # noqa: DTZ001 - meant
        look(witness, lambda moment=moment: Tokens.from_link({**LINK, "expiresInSeconds": 9}, obtained_at=moment))  # type: ignore[misc]


class Failing(dict[str, Any]):
    """A row that can no longer be read, and says what was in it."""

    def keys(self) -> Any:
        raise RuntimeError(dict(self))


@pytest.mark.once
@pytest.mark.parametrize("wrap", [Document, MappingProxyType, MultiDict, redis_hash, Failing, concealed, json.dumps])
@pytest.mark.parametrize("name", ["accountTokens", "expiresInSeconds", "refreshToken"])
def test_damaged_payloads_of_other_types(witness: Witness, wrap: Callable[[Any], Any], name: str) -> None:
    """A damaged payload or document in a type of a database's shows nothing of itself."""
    for wrong in ([SECRET], {"S": SECRET}):
        flat = {"brokerType": "coinbase", "refreshToken": SECRET, "accessToken": SECRET, "account": SECRET, name: wrong}
        entry = {"refreshToken": SECRET, "accessToken": SECRET, name: wrong, "account": [SECRET]}
        damaged = [
            {**document(), key: value} for key in ("version", "metadata", "ref") for value in (wrong, wrap(entry))
        ]
        for payload in (flat, {**LINK, "accountTokens": [wrap(entry)]}, {"payload": flat, "tokenId": SECRET}, *damaged):
            given = wrap(payload)
            look(witness, lambda given=given: Tokens.from_link(given))  # type: ignore[misc]
            look(witness, lambda given=given: Tokens.from_document(given))  # type: ignore[misc]
            look(witness, lambda given=given: Tokens.from_json(given))  # type: ignore[misc]


@pytest.mark.parametrize("secret", [f" {SECRET}", f"{SECRET}\n", f"{SECRET}\x00", "", *ODD])
def test_client_secrets(witness: Witness, secret: Any) -> None:
    """A client secret that cannot be right is refused unseen, whatever its type."""
    look(witness, lambda: MeshClient(KEYS["client id"], secret))
    look(witness, lambda: MeshClient(" id", SECRET))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tokens(""),
        lambda: MeshClient("", SECRET),
        lambda: MeshClient("id", ""),
        lambda: AiohttpTransport(connections=0),
    ],
)
def test_half_made_objects_can_be_shown(make: Callable[[], object]) -> None:
    """A traceback of a refused constructor can be rendered with its locals, on Python 3.11 too."""
    with pytest.raises(InvalidRequest) as caught:
        make()
    assert traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack


def test_mixed_up_keys(witness: Witness) -> None:
    """A secret for the other environment, or with a base URL that will not do, is not shown."""
    look(witness, lambda: MeshClient("id", f"sk_sand_{SECRET}"))
    urls = (
        f"https://user:{SECRET}@host",
        f"https://host?key={SECRET}",
        f"https://{SECRET}@host:x",
        f"ftp://{SECRET}@h",
    )
    for url in ("http://evil.example", "https://user@host", 7, "ftp://host", *urls):
        look(witness, lambda url=url: MeshClient("id", SECRET, base_url=url))  # type: ignore[misc]
    for options in ({"strategies": 7}, {"retry": 7}, {"on_outcome": 7}):
        look(witness, lambda options=options: MeshClient("id", SECRET, **options))  # type: ignore[misc]


@pytest.mark.parametrize(
    "options",
    [
        {"proxy": f"socks5://user:{SECRET}@proxy:1080"},
        {"proxy": f"http://user:{SECRET}@proxy:3128/?a=b"},
        {"proxy": f"http://user:{SECRET}@proxy:port"},
        {"headers": {"X-Gateway-Key": f"{SECRET}\n"}},
        {"headers": {"X Gateway": SECRET}},
        {"headers": {"Host": SECRET}},
        {"headers": {"X-Gateway-Key": SECRET}, "proxy": f"http://user:{SECRET}@proxy", "connections": 0},
        {"headers": {"X-Gateway-Key": SECRET}, "session": 7},
    ],
)
def test_options_of_the_transport(witness: Witness, options: dict[str, Any]) -> None:
    """A proxy's password and a gateway's key are not shown where an option is refused, nor does the transport fail to
    be shown.
    """
    with pytest.raises(InvalidRequest) as caught:
        AiohttpTransport(**options)
    witness.look_at(caught.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"MESH_CLIENT_SECRET": SECRET},
        {"MESH_CLIENT_ID": "id", "MESH_CLIENT_SECRET": f" {SECRET}"},
        {"MESH_CLIENT_ID": " id", "MESH_CLIENT_SECRET": SECRET},
        {"MESH_CLIENT_ID": "id", "MESH_CLIENT_SECRET": SECRET, "MESH_BASE_URL": "http://evil.example"},
        {"MESH_CLIENT_ID": "id", "MESH_CLIENT_SECRET": f"sk_sand_{SECRET}"},
    ],
)
def test_environment(witness: Witness, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """An environment that will not do is not shown, and neither is what else stands in it."""
    for name in ("MESH_CLIENT_ID", "MESH_CLIENT_SECRET", "MESH_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", SECRET)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidRequest) as caught:
        MeshClient.from_env()
    witness.look_at(caught.value)


def client(**options: Any) -> MeshClient:
    return MeshClient(KEYS["client id"], options.pop("secret", KEYS["client secret"]), **options)


@pytest.mark.parametrize("wrong", [*ODD, SECRET, TOKENS.to_json(), None])
async def test_refresh_of_what_is_no_tokens(watched: Witness, wrong: Any) -> None:
    """What is no `Tokens` or no continuation is refused by `InvalidRequest`, and not shown."""
    async with client() as mesh:
        for call in (mesh.refresh(wrong), mesh.submit_mfa(wrong, planted("code"))):
            error = await outcome_of(call)
            watched.look_at(error)
            assert isinstance(error, InvalidRequest)


async def test_mixed_up_arguments(watched: Witness) -> None:
    """Tokens for a continuation, and a continuation for tokens, are refused by `InvalidRequest`, and not shown."""
    async with client() as mesh:
        for call in (mesh.refresh(continuation()), mesh.submit_mfa(TOKENS, planted("code"))):  # type: ignore[arg-type]
            error = await outcome_of(call)
            watched.look_at(error)
            assert isinstance(error, InvalidRequest)


@pytest.mark.parametrize("code", ["", " ", None, 7, b"", [planted("code")]])
async def test_codes(watched: Witness, code: Any) -> None:
    """A code that is none is refused by `InvalidRequest`, and no token is shown."""
    async with client() as mesh:
        error = await outcome_of(mesh.submit_mfa(continuation(), code))
    watched.look_at(error)
    assert isinstance(error, InvalidRequest)


@pytest.mark.parametrize("given", [f"{SECRET}\n", "", f"sk_sand_{SECRET}", *ODD])
@pytest.mark.parametrize("is_async", [False, True])
async def test_secret_callables(watched: Witness, given: Any, is_async: bool) -> None:
    """What a secret callable gives is not shown where it cannot be right."""

    async def later() -> Any:
        return given

    async with client(secret=later if is_async else (lambda: given)) as mesh:
        watched.look_at(await outcome_of(mesh.refresh(TOKENS)))


@pytest.mark.parametrize("strategy", [DefaultStrategy(send_access_token=True), WeBullStrategy()])
def test_strategies(witness: Witness, strategy: DefaultStrategy) -> None:
    """What a strategy refuses to build is not shown."""
    for tokens in (Tokens("weBull", SECRET), Tokens("weBull", access_token=SECRET, metadata={"a": SECRET})):
        look(witness, lambda tokens=tokens: strategy.build(tokens, RefreshOptions()))  # type: ignore[misc]
    look(witness, lambda: strategy.build_mfa(continuation(), " "))


def test_what_cannot_be_written(watched: Witness) -> None:
    """Tokens that could be neither stored nor sent are refused, and not shown."""
    look(watched, lambda: Tokens("coinbase", f"\ud800{SECRET}"))
    look(watched, lambda: Tokens("coinbase", SECRET, metadata={"\ud800": SECRET}))
