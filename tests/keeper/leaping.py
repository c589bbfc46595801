"""Time that leaps: an event loop on which an hour of a keeper with its own loop, pauses and patience takes a moment.

Nothing waits: where nothing is ready, it is the time of the next timer at once. A story goes the same way each time, so
that it can tell when something happened, in seconds of this time.
"""

import asyncio
import json
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar

from attrs import define, evolve, field

from mesh_refresh import HttpReply, HttpRequest, MeshClient, RetryPolicy, Tokens
from mesh_refresh.keeper import Keeper, Policy
from mesh_refresh.stores import MemoryStore, Store
from mesh_refresh.telemetry import Observer
from mesh_refresh.testing import FakeMesh
from mesh_refresh.testing.clock import DEFAULT_START

_T = TypeVar("_T")


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type, unused-ignore]
    """Waits for nobody."""

    loop: "LeapingLoop"

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("Nothing is left that could go on.")
        if not ready and timeout:
            self.loop.now += timeout
        return ready


class LeapingLoop(asyncio.SelectorEventLoop):
    """Its `now` is what everything in it takes for the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turns = 0
        """How often it has gone round: what needs few of them is done soon, on any machine."""
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        self.turns += 1
        super()._run_once()  # type: ignore[misc]

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> "asyncio.Future[Any]":
        """At once: a thread would take time that nobody here can see."""
        done: asyncio.Future[Any] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is for whoever waits
            done.set_exception(error)
        return done


def leaping(story: Coroutine[Any, Any, _T]) -> _T:
    """What `story` gives, run on a loop of its own."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        return runner.run(story)


class LeapingClock:
    """Shows the running loop's time; `jump` moves the wall clock alone."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return DEFAULT_START + timedelta(seconds=asyncio.get_running_loop().time()) + self._ahead

    def monotonic(self) -> float:
        return 1000.0 + asyncio.get_running_loop().time()

    def jump(self, by: timedelta) -> None:
        self._ahead += by


class Wire:
    """A transport without a network: each request takes `latency` seconds, and what comes back is `answer`'s."""

    def __init__(self, answer: Callable[[HttpRequest], Awaitable[bytes] | bytes], latency: float = 0.0) -> None:
        self.answer, self.latency = answer, latency
        self.begun: list[float] = []
        """When each request went out."""
        self.running = self.most = 0
        self.tokens: list[str] = []
        """The refresh tokens that were sent."""

    async def send(self, request: HttpRequest) -> HttpReply:
        await request.before_send()
        self.begun.append(asyncio.get_running_loop().time())
        self.tokens.append(json.loads(request.body)["refreshToken"])
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            answered = self.answer(request)
            body = answered if isinstance(answered, bytes) else await answered
            await asyncio.sleep(self.latency)
        finally:
            self.running -= 1
        return HttpReply(200, {"Content-Type": "application/json"}, body)

    async def aclose(self) -> None:
        pass


def always_fresh(lifetime: timedelta) -> Callable[[HttpRequest], bytes]:
    """A Mesh that has a new pair for every request."""
    issued = iter(range(1 << 30))

    def answer(_: HttpRequest) -> bytes:
        number = next(issued)
        entry = {"accessToken": f"a+{number}", "refreshToken": f"r+{number}"}
        content = {"status": "succeeded", "expiresInSeconds": lifetime.total_seconds(), "brokerAccountTokens": [entry]}
        return json.dumps({"status": "ok", "content": content}).encode()

    return answer


def model_of(fake: FakeMesh) -> Callable[[HttpRequest], bytes]:
    """The fake's brokers, without its server: the token is spent when the request comes."""

    def answer(request: HttpRequest) -> bytes:
        answered = fake.model.answer(request.headers, json.loads(request.body))
        fake.model.deliver(answered, answered.body)
        return answered.body

    return answer


@define(eq=False)
class Scene:
    """What the processes of a story share: a clock, a store, and the way to Mesh."""

    wire: Wire
    clock: LeapingClock = field(factory=LeapingClock)
    store: MemoryStore = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.store = MemoryStore(clock=self.clock)

    def process(
        self,
        *,
        store: Store | None = None,
        retry: RetryPolicy | None = None,
        on_event: Any = None,
        on_notice: Any = None,
        spool: Any = None,
        observer: Observer | None = None,
        role: str | None = "keeper",
        **policy: Any,
    ) -> "Process":
        """One more keeper, with a client of its own."""
        mesh = MeshClient("fake-client-id", "fake-client-secret", transport=self.wire, retry=retry, clock=self.clock)
        keeper = Keeper(
            mesh,
            store or self.store,
            policy=Policy(**policy),
            on_event=on_event,
            on_notice=on_notice,
            spool=spool,
            observer=observer,
            role=role,
        )
        return Process(mesh, keeper)

    def pairs(self, count: int, lifetime: timedelta) -> list[tuple[str, Tokens]]:
        """So many logins that were added in one second."""
        now = self.clock.now()
        first = Tokens("coinbase", "r", access_token="a", obtained_at=now, expires_at=now + lifetime)
        return [
            (f"u{number}", evolve(first, refresh_token=f"r-{number}", access_token=f"a-{number}"))
            for number in range(count)
        ]


@define(eq=False)
class Process:
    """A client and its keeper, entered and left together."""

    mesh: MeshClient
    keeper: Keeper

    async def __aenter__(self) -> Keeper:
        await self.mesh.__aenter__()
        return await self.keeper.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.keeper.__aexit__(kind, error, trace)
        finally:
            await self.mesh.aclose()
