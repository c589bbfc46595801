"""Parts of the user's that misbehave: every caller gets an outcome or an error, and nothing that came is lost."""

import asyncio
import gc
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from attrs import evolve
from multidict import CIMultiDict

from mesh_refresh import (
    DefaultStrategy,
    HttpReply,
    InvalidRequest,
    NotSaved,
    NotSent,
    OutcomeUnknown,
    Refreshed,
    RetryPolicy,
    SendOptions,
    UnreadableReply,
)
from mesh_refresh.client.guarded_clock import GuardedClock
from mesh_refresh.testing import FakeMesh, Fault
from tests.client.odd_parts import Finishing, Interpreting, OddMapping, Returning, bounded, raising

HEADERS: dict[str, Any] = {
    "pairs": [("Content-Type", "application/json"), ("Retry-After", "1")],
    "bytes": {b"Retry-After": b"1"},
    "pairs of bytes": ((b"Retry-After", b"1"),),
    "a multidict": CIMultiDict([("A", "1"), ("A", "2")]),
    "lists of values": {"A": ["1", "2"]},
    "numbers": {"Retry-After": 1},
    "None": None,
    "None for a value": {"A": None},
    "a number": 7,
    "text": "A: 1",
    "one that raises": OddMapping(),
}


def _with_headers(headers: Any, reply: Any) -> Any:
    return evolve(reply, headers=headers)


USABLE: dict[str, Callable[[Any], Any]] = {
    "text body": lambda it: evolve(it, body=it.body.decode()),
    "bytearray": lambda it: evolve(it, body=bytearray(it.body)),
    "memoryview": lambda it: evolve(it, body=memoryview(it.body)),
    "parsed body": lambda it: evolve(it, body=orjson.loads(it.body)),
    "text status": lambda it: evolve(it, status="200"),
    "status line": lambda it: evolve(it, status="200 OK"),
    "bytes status": lambda it: evolve(it, status=b"200"),
    "float status": lambda it: evolve(it, status=200.0),
    "HTTPStatus": lambda it: evolve(it, status=HTTPStatus.OK),
    "complete is None": lambda it: evolve(it, complete=None),
    "raw is None": lambda it: evolve(it, raw=None, surplus=None),
    "fault is an error": lambda it: evolve(it, fault=ValueError("fake")),
    **{f"headers: {name}": partial(_with_headers, headers) for name, headers in HEADERS.items()},
}


def _response(reply: HttpReply, **names: Any) -> Any:
    """One of another library's, whose `repr` shows nothing."""
    return SimpleNamespace(headers=reply.headers, **names)


class Unread(SimpleNamespace):
    """One whose body is still to come."""

    content = text = object()

    async def read(self) -> Any:
        return self.come


RESPONSES: dict[str, Callable[[Any], Any]] = {
    "requests, httpx": lambda it: _response(it, status_code=200, content=it.body, text=it.body.decode()),
    "a text only": lambda it: _response(it, status=200, text=it.body.decode()),
    "tornado": lambda it: _response(it, code=200, body=it.body),
    "without headers": lambda it: SimpleNamespace(status="200 OK", data=bytearray(it.body)),
    "aiohttp": lambda it: Unread(status=200, headers=it.headers, come=it.body),
    "http.client": lambda it: SimpleNamespace(status=200, read=lambda: it.body),
}


@pytest.mark.parametrize("make", [*USABLE.values(), *RESPONSES.values()], ids=[*USABLE, *RESPONSES])
async def test_reply_of_other_types(fake: FakeMesh, make: Callable[[Any], Any]) -> None:
    """A reply whose parts have other types, or another library's response, is a success: it has spent the token."""
    saved = list[Any]()
    async with fake.client(transport=Returning(make), on_outcome=saved.append) as mesh:
        outcome = await mesh.refresh(fake.login("coinbase").token)
    assert isinstance(outcome, Refreshed)
    assert saved == [outcome]
    assert fake.lost() == []


class Response:
    """Of another library."""

    def __init__(self, reply: HttpReply) -> None:
        self.reply = reply

    def __repr__(self) -> str:
        return f"<Response {self.reply.body.decode()}>"


UNUSABLE: dict[str, Callable[[Any], Any]] = {
    "a class of their own": Response,
    "a tuple": lambda it: (it.status, {}, it.body),
    "bytes": lambda it: it.body,
    "text": lambda it: it.body.decode(),
    "a dictionary": lambda it: orjson.loads(it.body),
    "a status that is none": lambda it: evolve(it, status=object()),
    "no status": lambda it: evolve(it, status=None),
    "a body that is none": lambda it: evolve(it, body=Response(it)),
}


@pytest.mark.parametrize("name", UNUSABLE)
async def test_no_reply(fake: FakeMesh, name: str) -> None:
    """What cannot be used as a reply goes to the hook with its bytes, and to the caller."""
    saved = list[Any]()
    async with fake.client(transport=Returning(UNUSABLE[name]), on_outcome=saved.append) as mesh:
        error = await bounded(mesh.refresh(fake.login("coinbase").token))
    assert isinstance(error, UnreadableReply)
    assert error.may_hold_token
    assert [it.body for it in saved] == [error.body]
    assert b"fake-refresh" in error.body
    assert "fake-refresh" not in str(error)


async def test_a_response_that_cannot_be_read(fake: FakeMesh) -> None:
    """What it shows is kept, and the error is of the client's own."""
    for read in (raising(OSError()), lambda: None, object):
        make = lambda _, read=read: SimpleNamespace(status=200, read=read)  # noqa: E731
        async with fake.client(transport=Returning(make)) as mesh:
            error = await bounded(mesh.refresh(fake.login("coinbase").token))
        assert isinstance(error, UnreadableReply)
        assert error.body


class NoError(BaseException):
    """Not even an `Exception`."""


BREAKING = [asyncio.CancelledError(), GeneratorExit(), NoError(), BaseExceptionGroup("", [asyncio.CancelledError()])]


@pytest.mark.parametrize("error", BREAKING, ids=lambda error: type(error).__name__)
async def test_what_is_no_exception(fake: FakeMesh, error: BaseException) -> None:
    """From each part it gives an outcome or an error of ours, and leaves no task that complains."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    login = fake.login("coinbase")
    async with fake.client(on_outcome=raising(error)) as mesh:
        failure = await bounded(mesh.refresh(login.token))
        assert isinstance(failure, NotSaved)
        await fake.saved(failure.outcome)

    class Odd(DefaultStrategy):
        credential = may_resend = raising(error)

    fake.fail(Fault.cut())
    async with fake.client(strategies={"coinbase": Odd()}) as mesh:
        assert isinstance(await bounded(mesh.refresh(fake.login("coinbase").token)), OutcomeUnknown)
        outcome = await bounded(mesh.refresh(fake.login("coinbase").token))
        assert isinstance(outcome, Refreshed)
        await fake.saved(outcome)
    async with fake.client(transport=Returning(raising(error))) as mesh:
        assert isinstance(await bounded(mesh.refresh(fake.login("etoro").token)), OutcomeUnknown)
    gc.collect()
    assert complaints == []


async def test_verbs_that_are_async_by_mistake(fake: FakeMesh) -> None:
    """`credential` and `may_resend` give what is safe, and no coroutine is left that nobody awaited."""

    class Odd(DefaultStrategy):
        async def credential(self, tokens: Any) -> Any: ...  # type: ignore[override]

        async def may_resend(self, request: Any) -> Any: ...  # type: ignore[override]

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with fake.client(strategies={"coinbase": Odd()}) as mesh:
            login = fake.login("coinbase")
            assert mesh.credential(login.token) == login.token.refresh_token
            assert not mesh.may_resend(login.token)
            assert isinstance(await mesh.refresh(login.token), Refreshed)
        gc.collect()
    assert [one for one in warned if issubclass(one.category, RuntimeWarning)] == []


METADATA: dict[str, Any] = {
    "a number": {"user": 7},
    "a nested one": {"user": {"id": "7"}},
    "bytes": {"user": b"7"},
    "a number for a name": {7: "user"},
    "a lone surrogate": {"user": "\ud800"},
    "a list": ["user"],
}
BUILT: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"metadata: {name}": ("metadata", {"metadata": value}) for name, value in METADATA.items()},
    "a refresh token of bytes": ("refresh_token", {"refresh_token": b"planted-secret"}),
    "no refresh token": ("refresh_token", {"refresh_token": None}),
    "a number for a code": ("mfa_code", {"mfa_code": 123456}),
    "an access token in a list": ("access_token", {"access_token": ["planted-secret"]}),
    "a trade token that is not Unicode": ("trade_token", {"trade_token": "planted-secret\udfff"}),
    "a type of None": ("type", {"type": None}),
    "a type that is blank": ("type", {"type": " "}),
    "text for a flag": ("create_new_refresh_token", {"create_new_refresh_token": "true"}),
}


@pytest.mark.parametrize("name", BUILT)
async def test_request_is_checked(fake: FakeMesh, name: str) -> None:
    """A request that a strategy built of wrong types is refused before any I/O, by the field's name."""
    field, changes = BUILT[name]
    async with fake.client(strategies={"coinbase": Finishing(**changes)}) as mesh:
        with pytest.raises(InvalidRequest, match=field) as caught:
            await mesh.refresh(fake.login("coinbase").token)
    assert "planted" not in str(caught.value)
    assert "123456" not in str(caught.value)
    assert fake.requests == []


async def test_metadata_that_raise(fake: FakeMesh) -> None:
    """So is one whose parts raise when they are read."""
    async with fake.client(strategies={"coinbase": Finishing(metadata=OddMapping())}) as mesh:
        with pytest.raises(InvalidRequest, match="RuntimeError"):
            await mesh.refresh(fake.login("coinbase").token)
    assert fake.requests == []


INTERPRETED: dict[str, Callable[[Any], Any]] = {
    "None": lambda _: None,
    "asked beyond the end": lambda it: evolve(it, asked=7),
    "asked as text": lambda it: evolve(it, asked="0"),
    "a list of tokens": lambda it: evolve(it, all_tokens=[*it.all_tokens]),
    "no tokens": lambda it: evolve(it, all_tokens=(), asked=None),
    "tokens as documents": lambda it: evolve(it, all_tokens=tuple(tokens.to_document() for tokens in it.all_tokens)),
    "before as None": lambda it: evolve(it, before=None),
    "an error": raising(LookupError()),
    "a cancel": raising(asyncio.CancelledError()),
    "an exit": raising(SystemExit(1)),
}


@pytest.mark.parametrize("name", INTERPRETED)
async def test_interpret_misbehaves(fake: FakeMesh, name: str) -> None:
    """Whatever a strategy makes of a success, its bytes are with the hook, and its callers go on."""
    saved = list[Any]()
    strategies = {"coinbase": Interpreting(INTERPRETED[name])}
    async with fake.client(strategies=strategies, on_outcome=saved.append) as mesh:
        error = await bounded(mesh.refresh(fake.login("coinbase").token))
    assert isinstance(error, UnreadableReply)
    assert [it.body for it in saved] == [error.body]
    assert b"fake-refresh" in error.body


async def test_async_verbs(fake: FakeMesh) -> None:
    """A strategy whose verbs are async by mistake is told so, and no coroutine is left."""

    async def later(*_: object) -> Any:
        raise AssertionError

    class Asynchronous(Interpreting):
        build = later  # type: ignore[assignment]

    async with fake.client(strategies={"coinbase": Asynchronous(later), "paxos": Interpreting(later)}) as mesh:
        with pytest.raises(InvalidRequest, match="coroutine"):
            await mesh.refresh(fake.login("coinbase").token)
        with pytest.raises(UnreadableReply, match="async"):
            await mesh.refresh(fake.login("paxos").token)


async def test_build_raises(fake: FakeMesh) -> None:
    """A strategy that raises while it builds gives an error of ours, with its own as the cause."""
    async with fake.client(strategies={"coinbase": Finishing(no_such_field=1)}) as mesh:
        with pytest.raises(InvalidRequest, match="TypeError") as caught:
            await mesh.refresh(fake.login("coinbase").token)
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize("answer", [raising(LookupError()), lambda _: 1, lambda _: "no"])
async def test_may_resend_misbehaves(fake: FakeMesh, answer: Any) -> None:
    """A strategy that cannot tell whether a request may be sent again does not allow it."""

    class Strategy(Finishing):
        def may_resend(self, request: Any) -> bool:
            return answer(request)  # type: ignore[no-any-return]

    fake.fail(Fault.cut())
    policy = RetryPolicy(resend_unknown=True, resend_after=timedelta(), backoff=timedelta())
    async with fake.client(strategies={"coinbase": Strategy()}, retry=policy) as mesh:
        error = await bounded(mesh.refresh(fake.login("coinbase").token))
    assert error.token_may_be_spent
    assert len(fake.requests) == 1


class OddClock:
    """A clock that goes wrong when it is asked for the n-th time."""

    def __init__(self, wrong: Callable[[], Any]) -> None:
        self.wrong = wrong

    def now(self) -> datetime:
        return self.wrong()  # type: ignore[no-any-return]

    def monotonic(self) -> float:
        return self.wrong()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "wrong",
    [raising(OSError()), lambda: None, lambda: datetime(2026, 1, 1), lambda: float("nan"), lambda: datetime.max],  # noqa: DTZ001, DTZ901
    ids=["raises", "None", "naive", "NaN", "naive, at the end"],
)
async def test_clock_misbehaves(fake: FakeMesh, wrong: Any) -> None:
    """A clock that raises or tells no time costs no token."""
    async with fake.client(clock=OddClock(wrong)) as mesh:
        outcome = await bounded(mesh.refresh(fake.login("coinbase").token))
    assert isinstance(outcome, Refreshed)
    assert outcome.tokens.obtained_at is not None
    assert abs(outcome.tokens.obtained_at - datetime.now(UTC)) < timedelta(hours=1)
    assert fake.lost() == []


def test_clock_goes_back() -> None:
    """Seconds that run backwards stand still; where the clock raises, the machine's go on from there."""
    told: list[Any] = [5.0, 3.0, OSError(), 9.0]

    def tell() -> Any:
        one = told.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    clock = GuardedClock(OddClock(tell))
    assert (clock.monotonic(), clock.monotonic()) == (5.0, 5.0)
    assert 5.0 <= clock.monotonic() < 9.0
    assert clock.monotonic() == 9.0


async def test_late_bytes_before_the_reply(fake: FakeMesh) -> None:
    """What a transport hands over before its reply, as text even, goes to the hook when the exchange is over."""
    saved = list[Any]()

    class Hasty(Returning):
        async def send(self, request: Any) -> HttpReply:
            request.late('{"status": "ok", "content": {"refreshToken": "fake-late-refresh"}}')
            return await super().send(request)

    async with fake.client(transport=Hasty(lambda it: it), on_outcome=saved.append) as mesh:
        outcome = await mesh.refresh(fake.login("coinbase").token)
    assert isinstance(outcome, Refreshed)
    assert saved[0] == outcome
    assert b"fake-late-refresh" in saved[1].body
    assert fake.lost() == []


async def test_refs_do_not_wait_for_one_another(fake: FakeMesh) -> None:
    """The hooks of several refs run at the same time, and a caller waits for that of its own ref only."""
    begun, ends = asyncio.Event(), asyncio.Event()

    async def save(outcome: Any) -> None:
        if outcome.before.ref == "slow":
            begun.set()
            await ends.wait()

    login = fake.login("coinbase")
    gate = fake.hold()
    async with fake.client(on_outcome=save) as mesh:
        slow = asyncio.create_task(mesh.refresh(evolve(login.token, ref="slow")))
        await gate.entered.wait()
        quick = asyncio.create_task(mesh.refresh(evolve(login.token, ref="quick")))
        await asyncio.sleep(0)
        gate.release()
        await begun.wait()
        assert isinstance(await quick, Refreshed)
        late = await mesh.refresh(evolve(login.token, ref="late"))
        assert isinstance(late, Refreshed)
        assert not slow.done()
        ends.set()
        await slow
    assert len(fake.requests) == 1


async def test_waits_no_longer_than_its_deadline(fake: FakeMesh) -> None:
    """A caller whose request differs waits for the one under way until its own deadline, and not for its hook."""
    ends = asyncio.Event()

    async def save(_: object) -> None:
        await ends.wait()

    login = fake.login("coinbase")
    policy = RetryPolicy(deadline=timedelta(seconds=1))
    async with fake.client(on_outcome=save, retry=policy) as mesh:
        first = asyncio.create_task(mesh.refresh(login.token))
        await asyncio.sleep(0)
        with pytest.raises(NotSent, match="same token"):
            await mesh.refresh(login.token, sending=SendOptions(max_requests=1))
        assert not first.done()
        ends.set()
        assert isinstance(await first, Refreshed)
    assert fake.lost() == []
