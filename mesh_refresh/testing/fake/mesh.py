"""FakeMesh: Mesh and its brokers, as far as a client can tell, on a loopback address."""

import inspect
import itertools
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from random import Random
from typing import Any, Self, Unpack

from attrs import evolve

from mesh_refresh.client import MeshClient
from mesh_refresh.clock import Clock, SystemClock
from mesh_refresh.enums import BrokerType, named_broker
from mesh_refresh.replies.outcomes import MfaRequired, Refreshed, UnreadableReply
from mesh_refresh.testing.fake.gate import Gate
from mesh_refresh.testing.fake.observed import Observed
from mesh_refresh.testing.fake.options import LoginChoices, Usual, options_of, usual_lifetimes
from mesh_refresh.testing.fake.server import MeshServer
from mesh_refresh.testing.fake.traffic import FaultQueue, Traffic, tell_unused
from mesh_refresh.testing.faults.fault import Fault
from mesh_refresh.testing.model.logins import FakeLogin
from mesh_refresh.testing.model.model import MeshModel
from mesh_refresh.testing.model.salvage import texts
from mesh_refresh.tokens import Tokens

_NUMBERS = itertools.count(1)


class FakeMesh(Observed):
    """Mesh and its brokers on a loopback address, with a ledger of every token ever issued::

        async with FakeMesh() as fake, fake.client() as mesh:
            login = fake.login("coinbase")
            await mesh.refresh(login.token)
            assert not fake.lost()

    `clock` is what lifetimes are told in (a `ManualClock` makes them yours to move). The same `seed` gives the same
    tokens; without one, no two fakes of a process have a token in common. Accounts are numbered on: no two logins of a
    fake have an account id in common. The lifetimes are those of logins that do not say otherwise. Where the fake does
    not either, they are what is usual at the broker: an hour mostly, half an hour and 90 days at TD Ameritrade, until
    midnight in New York at E*TRADE. `extra_brokers` are types that the contract does not list and that are to be
    accepted all the same.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        seed: int | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        access_lifetime: timedelta | Usual | None = Usual.OF_THE_BROKER,
        refresh_lifetime: timedelta | Usual | None = Usual.OF_THE_BROKER,
        extra_brokers: Collection[str] = (),
    ) -> None:
        self.clock = clock or SystemClock()
        random = Random(f"fake {next(_NUMBERS)}" if seed is None else seed)  # noqa: S311 - the same tokens every time is what a test wants
        super().__init__(MeshModel(self.clock, random, extra_brokers=frozenset(extra_brokers)), Traffic())
        self.faults = FaultQueue[Fault]()
        self.server = MeshServer(self.model, self.traffic, self.faults, host, port)
        self._access_lifetime, self._refresh_lifetime = access_lifetime, refresh_lifetime

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        await self.stop()
        self.faults.forget()
        if error is None:
            tell_unused(self.faults)

    async def start(self) -> None:
        """Listen; after a `stop`, on the same port again."""
        await self.server.start()

    async def stop(self) -> None:
        """Stop listening: connections are refused until `start`. Tokens, ledger and faults stay as they are."""
        await self.server.stop()

    @property
    def base_url(self) -> str:
        """Where it listens: ``http://127.0.0.1:<port>``. Raises `RuntimeError` before it was started."""
        self._check_loop()
        if not self.server.port:
            raise RuntimeError("This FakeMesh was not started: use it within `async with`, or await its start().")
        return f"http://{self.server.host}:{self.server.port}"

    @property
    def client_id(self) -> str:
        """The client id that is accepted; set another, and the old one is refused."""
        return self.model.client_id

    @client_id.setter
    def client_id(self, value: str) -> None:
        self.model.client_id = value

    @property
    def client_secret(self) -> str:
        """The client secret that is accepted; set another, and the old one is refused."""
        return self.model.client_secret

    @client_secret.setter
    def client_secret(self, value: str) -> None:
        self.model.client_secret = value

    def client(self, *, on_outcome: Callable[[Any], object] | None = None, **options: Any) -> MeshClient:
        """A `MeshClient` on this server, with `saved` as its hook; your own `on_outcome` runs first, and counts as a
        save once it has succeeded. All other options are `MeshClient`'s; the clock is the fake's.
        """

        async def both(outcome: Any) -> None:
            if on_outcome is not None:
                told = on_outcome(outcome)
                if inspect.isawaitable(told):
                    await told
            await self.saved(outcome)

        options.setdefault("base_url", self.base_url)
        options.setdefault("clock", self.clock)
        return MeshClient(self.client_id, self.client_secret, on_outcome=both, **options)

    def login(
        self,
        broker: BrokerType | str,
        *,
        ref: str | int | None = None,
        **choices: Unpack[LoginChoices],
    ) -> FakeLogin:
        """A person's new login: the keywords are the fields of `LoginOptions`, which tells what each does.

        Where not said: all brokers but ``tdAmeritrade`` rotate, all but ``eTrade`` give refresh tokens, several
        accounts are named and a single one is not. `ref` becomes the `ref` of its tokens.
        """
        self._check_loop()
        broker = named_broker(broker)
        access, refresh = usual_lifetimes(broker, self.clock.now())
        given = self._access_lifetime, self._refresh_lifetime
        choices.setdefault("access_lifetime", access if isinstance(given[0], Usual) else given[0])
        choices.setdefault("refresh_lifetime", refresh if isinstance(given[1], Usual) else given[1])
        return self.model.login(broker, options_of(broker, choices), ref)

    def delayed_login(self, broker: BrokerType | str = BrokerType.INTERACTIVE_BROKERS) -> FakeLogin:
        """A login whose refresh token can be exchanged after 24 hours of the clock (``delayed=True``)."""
        return self.login(broker, delayed=True)

    def _check_loop(self) -> None:
        """Raises `RuntimeError` where the loop that answers stands still, because the caller's runs in its place."""
        if self.server.stands_still():
            raise RuntimeError(
                "This FakeMesh was started in another event loop, which stands still while this one runs: it would "
                "never answer. Give the fixture and the test one loop (loop_scope in pytest-asyncio)."
            )

    # Faults.

    def fail(
        self,
        *faults: Fault,
        times: int | None = 1,
        login: FakeLogin | str | None = None,
        broker: BrokerType | str | None = None,
    ) -> None:
        """Let each of `faults` meet the next `times` requests (of `login`, of `broker`), one after the other.

        A request takes the first fault in the queue that is meant for it. ``times=None``: every request, until `heal`.
        Raises `ValueError` for a login, a broker or a number that no request can have. A fault that met none by the end
        of ``async with`` is told by an `UnusedFault` warning.
        """
        self._check_loop()
        for rule in [self.model.rule_for(fault, times, login, broker) for fault in faults]:
            self.faults.add(rule)

    def hold(
        self,
        fault: Fault | None = None,
        *,
        after_rotation: bool = False,
        times: int | None = 1,
        login: FakeLogin | str | None = None,
        broker: BrokerType | str | None = None,
    ) -> Gate:
        """A gate at which the next `times` requests wait until its `release`; then `fault` happens, or all is well.

        They wait before Mesh does anything or, with `after_rotation`, between its work and its reply.
        """
        gate, then = Gate(), fault or Fault.none()
        held = then.waiting(after=gate) if after_rotation else then.waiting(before=gate)
        self.fail(evolve(held, name=f"hold, {then.name}" if fault else "hold"), times=times, login=login, broker=broker)
        return gate

    def heal(self) -> None:
        """Forget every fault that has not met all its requests."""
        self.faults.forget()

    # What to wait for in place of sleeping.

    async def idle(self) -> None:
        """Wait until no request is being answered."""
        await self.server.until(lambda: not self.in_flight)

    async def received(self, count: int) -> None:
        """Wait until `count` requests have come in, counted from the start."""
        await self.server.until(lambda: len(self.requests) >= count)

    # Who holds what.

    async def saved(self, outcome: Any) -> None:
        """Record that everything in `outcome` is held: the `on_outcome` hook of a client that loses nothing.

        Of `Refreshed` and `MfaRequired` all of `all_tokens` is held, for the login that `outcome.before` was issued to:
        see `misplaced`. Of `UnreadableReply` every whole token in its `body` is held.
        Raises `TypeError` for anything else.
        """
        match outcome:
            case Refreshed() | MfaRequired():
                self.hold_tokens(outcome.all_tokens)
                self.model.place(outcome.before, outcome.all_tokens)
            case UnreadableReply():
                self.hold_body(outcome.body)
            case _:
                raise TypeError(f"saved takes an outcome, as on_outcome is given it, and not {type(outcome).__name__}.")

    def hold_tokens(self, tokens: Iterable[Tokens]) -> None:
        """Record in the ledger that a program has saved these."""
        for each in tokens:
            self.ledger.hold(each)

    def hold_body(self, body: bytes) -> None:
        """Record in the ledger that a program has saved these bytes: every whole token in them counts as held.

        Tokens are found in chunked and compressed bytes too.
        """
        for text in texts(body):
            self.ledger.hold_text(text)

    def __repr__(self) -> str:
        where = f"{self.server.host}:{self.server.port or '?'}"
        return f"FakeMesh({where}, logins={len(self.logins)}, requests={len(self.requests)})"
