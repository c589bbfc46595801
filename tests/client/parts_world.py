"""A client whose parts do what a list says, each time that they are called: the world of `test_parts_fuzz`."""

import asyncio
import gc
import sys
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve, field, frozen

from mesh_refresh import (
    AiohttpTransport,
    DefaultStrategy,
    MeshClient,
    MeshRefreshError,
    NotSaved,
    NotSent,
    OutcomeUnknown,
    RetryPolicy,
    SendOptions,
    Throttled,
)
from mesh_refresh.testing import FakeMesh
from mesh_refresh.testing.model.losses import LossReason
from tests.client.ending.stepping import SteppingLoop, watchdog
from tests.debugging import short_stacks
from tests.watchdog import Patience

SOON = timedelta(milliseconds=200)


class Odd(Exception):
    """One that nobody knows."""


class Broken(BaseException):
    """Not even an `Exception`."""


ERRORS: Mapping[str, Callable[[], BaseException]] = {
    "Odd": Odd,
    "TimeoutError": TimeoutError,
    "CancelledError": asyncio.CancelledError,
    "NotSent": NotSent,
    "Throttled": Throttled,
    "OutcomeUnknown": OutcomeUnknown,
}
VALUES: Mapping[str, Any] = {"None": None, "7": 7, "text": "text", "bytes": b"bytes", "list": [], "object": object()}

SYNC = (*(f"raise {name}" for name in ERRORS), *(f"return {name}" for name in VALUES))
ASYNC = (*SYNC, "wait for ever", "cancel itself", "cancel all", "refresh", "refresh another", "close")
PLACES: Mapping[str, tuple[str, ...]] = {
    "build": (*SYNC, "a number in metadata"),
    "interpret": SYNC,
    "may_resend": SYNC,
    "now": SYNC,
    "monotonic": (*SYNC, "back"),
    "secret": ASYNC,
    "before_send": ASYNC,
    "send": ASYNC,
    "reply": (*ASYNC, "text body", "text status", "pairs", "no body", "late bytes"),
    "hook": ASYNC,
    "aclose": ASYNC,
    "observer": SYNC,
}
"""What each part may do; nothing is what it does where the list is over."""


@frozen
class Story:
    """What happens."""

    acts: Mapping[str, tuple[str, ...]]
    """At each place, one for each call."""
    cancelled: tuple[int, ...] = ()
    """Callers that are cancelled, and closers."""
    steps: int = 5
    """How many steps of the loop later."""


@frozen
class World:
    """One run of a story, and what is found to be wrong after it."""

    story: Story
    fake: FakeMesh
    left: dict[str, list[str]]
    side: list["asyncio.Task[Any]"] = field(factory=list)
    wrong: list[str] = field(factory=list)
    dropped: list[str] = field(factory=list)
    client: list[MeshClient] = field(factory=list)
    tokens: list[Any] = field(factory=list)

    def next_act(self, place: str) -> str:
        return self.left[place].pop(0) if self.left.get(place) else ""

    def act_now(self, place: str, value: Any) -> Any:
        """What a plain function at `place` gives, where it should give `value`."""
        kind, _, name = (act := self.next_act(place)).partition(" ")
        if act and kind in ("raise", "return"):
            self.dropped.append(place)
        if kind == "raise":
            make = ERRORS[name]
            raise make()
        return VALUES[name] if kind == "return" else value

    async def act(self, place: str, value: Any) -> Any:
        """The same of an async one."""
        act = self.left[place][0] if self.left.get(place) else ""
        if act.startswith(("raise", "return")) or not act:
            return self.act_now(place, value)
        self.next_act(place)
        mesh = self.client[0]
        match act:
            case "wait for ever":
                self.dropped.append(place)
                await asyncio.Event().wait()
            case "cancel itself":
                self.dropped.append(place)
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(0)
            case "cancel all":
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    if task.get_name() != "main" and "web_protocol" not in repr(task.get_coro()):  # Mesh is elsewhere
                        task.cancel()
                await asyncio.sleep(0)
            case "refresh" | "refresh another":
                await self.called_back(mesh.refresh(self.tokens[0 if act == "refresh" else -1]))
            case "close":
                await self.called_back(mesh.aclose())
            case _:
                return self.odd_reply(act, value)
        return value

    async def called_back(self, call: Any) -> None:
        try:
            self.note(await call)
        except MeshRefreshError as error:
            self.note(error)
        except TimeoutError:
            return

    def odd_reply(self, act: str, reply: Any) -> Any:
        match act:
            case "text body":
                return evolve(reply, body=reply.body.decode())
            case "text status":
                return evolve(reply, status=str(reply.status))
            case "pairs":
                return evolve(reply, headers=[("Retry-After", "0")])
            case "no body":
                self.dropped.append("reply")
                return evolve(reply, body=None)
        return reply

    def note(self, outcome: Any) -> None:
        """Somebody has it."""
        held = outcome.outcomes or () if isinstance(outcome, NotSaved) else (outcome,)
        for one in held:
            self.fake.hold_tokens(getattr(one, "all_tokens", ()))
            self.fake.hold_body(getattr(one, "body", b""))


class Strategy(DefaultStrategy):
    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def build(self, *args: Any) -> Any:
        request = super().build(*args)
        if self.world.left.get("build", [""])[:1] == ["a number in metadata"]:
            self.world.next_act("build")
            return evolve(request, metadata={"user": 7})  # type: ignore[dict-item]
        return self.world.act_now("build", request)

    def interpret(self, *args: Any) -> Any:
        return self.world.act_now("interpret", super().interpret(*args))

    def may_resend(self, request: Any) -> Any:
        return self.world.act_now("may_resend", super().may_resend(request))


class Transport:
    def __init__(self, world: World) -> None:
        self.world = world
        self.inner = AiohttpTransport()

    async def send(self, request: Any) -> Any:
        await self.world.act("send", None)
        reply = await self.inner.send(request)
        if self.world.left.get("reply", [""])[:1] == ["late bytes"]:
            request.late(b'{"content": {"refreshToken": "fake-refresh-of-nobody"}}')
        try:
            return await self.world.act("reply", reply)
        except BaseException:
            self.world.dropped.append("reply")  # it had a reply in hand, and let it go
            raise

    async def aclose(self) -> None:
        await self.inner.aclose()
        await self.world.act("aclose", None)


class OddClock:
    def __init__(self, world: World) -> None:
        self.world = world

    def now(self) -> datetime:
        return self.world.act_now("now", datetime.now(UTC))  # type: ignore[no-any-return]

    def monotonic(self) -> float:
        if self.world.left.get("monotonic", [""])[:1] == ["back"]:
            self.world.next_act("monotonic")
            return -1.0
        return self.world.act_now("monotonic", asyncio.get_running_loop().time())  # type: ignore[no-any-return]


class OddObserver:
    def __init__(self, world: World) -> None:
        self.world = world

    def observe(self, told: Any, /) -> None:
        return self.world.act_now("observer", None)  # type: ignore[no-any-return]


def client_of(world: World) -> MeshClient:
    async def save(outcome: Any) -> None:
        await world.act("hook", None)
        world.note(outcome)

    async def secret() -> str:
        return await world.act("secret", world.fake.client_secret)  # type: ignore[no-any-return]

    return MeshClient(
        world.fake.client_id, secret, base_url=world.fake.base_url, strategies={"coinbase": Strategy(world)},
        retry=RetryPolicy(max_requests=2, deadline=SOON * 2, backoff=timedelta()), transport=Transport(world),
        on_outcome=save, on_outcome_timeout=SOON, clock=OddClock(world), observer=OddObserver(world),
    )  # fmt: skip


async def lived(story: Story) -> list[str]:
    """Everything that is wrong after `story`."""
    main = asyncio.current_task()
    assert main is not None
    main.set_name("main")
    async with FakeMesh() as fake:
        world = World(story, fake, {place: list(acts) for place, acts in story.acts.items()})
        one, other = fake.login("coinbase").token, fake.login("coinbase").token
        world.tokens.extend((one, other))
        mesh = client_of(world)
        world.client.append(mesh)

        async def before_send() -> None:
            await world.act("before_send", None)

        sending = SendOptions(before_send=before_send)
        asked = (one, one, evolve(one, ref="another"), other)
        callers = [asyncio.create_task(mesh.refresh(tokens, sending=sending)) for tokens in asked]
        for _ in range(story.steps):
            await asyncio.sleep(0)
        for number in story.cancelled:
            callers[number].cancel()
        await asyncio.wait(callers)
        closers = [asyncio.create_task(mesh.aclose()) for _ in range(2)]
        await asyncio.sleep(0)
        if story.cancelled:
            closers[0].cancel()
            await asyncio.sleep(0)
            closers[0].cancel()
        await asyncio.wait(closers)
        judge(world, callers, closers)
        for _ in range(20):
            await asyncio.sleep(0)
        ours = [task for task in asyncio.all_tasks() if task is not main and "mesh_refresh/" in repr(task.get_coro())]
        world.wrong.extend(f"left behind: {task!r}" for task in ours)
        return world.wrong


def judge(world: World, callers: list["asyncio.Task[Any]"], closers: list["asyncio.Task[Any]"]) -> None:
    """Each has an outcome or an error of ours, and what came is with somebody."""
    cancels = world.story.cancelled or any("cancel all" in acts for acts in world.story.acts.values())
    for number, caller in enumerate(callers):
        if caller.cancelled():
            if not cancels:
                world.wrong.append(f"caller {number} was cancelled by nobody")
            continue
        error = caller.exception()
        if error is not None and not isinstance(error, MeshRefreshError):
            world.wrong.append(f"caller {number} got {error!r}")
        world.note(error or caller.result())
    for closer in closers:
        if not closer.cancelled() and (error := closer.exception()) is not None:
            world.note(error)
            # A transport's own error at closing is its user's.
            if not isinstance(error, MeshRefreshError) and not world.story.acts.get("aclose"):
                world.wrong.append(f"aclose raised {error!r}")
    if not {"reply", "interpret"} & {*world.dropped}:
        lost = [it for it in world.fake.lost() if it.reason is LossReason.NOT_HELD]
        world.wrong.extend(f"lost: {it}" for it in lost)


def wrong_after(story: Story) -> list[str]:
    """The same, from outside: with what the loop, the garbage collector and warnings complain of."""
    complaints = list[str]()
    unraisable, sys.unraisablehook = sys.unraisablehook, lambda it: complaints.append(f"{it.exc_value!r} {it.object!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            patience = lambda: Patience(idle_looks=20, most_looks=100)  # noqa: E731 - a factory
            steps = asyncio.Runner(debug=True, loop_factory=SteppingLoop)
            with watchdog(patience), short_stacks(), steps as runner:
                loop = runner.get_loop()
                loop.slow_callback_duration = 3600
                loop.set_exception_handler(lambda _, context: complaints.append(str(context)))
                found = runner.run(lived(story))
            gc.collect()
    finally:
        sys.unraisablehook = unraisable
    return found + complaints
