"""Opens a store and its keeper for one command."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from attrs import define, evolve, field, frozen

from mesh_refresh import HttpReply, HttpRequest, MeshClient, NotSent, RetryPolicy, Transport
from mesh_refresh.cli.fleet.support.store_location import KEYS_VARIABLE, AnyStore, StoreLocation
from mesh_refresh.cli.own_app import NO_APP, OwnApp
from mesh_refresh.cli.terminal.exit_codes import Exit, exit_for
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure, say
from mesh_refresh.keeper import AccountState, App, Event, Keeper, Login, Policy
from mesh_refresh.keeper.listing import UnopenedRow, page_of, read_page
from mesh_refresh.keeper.runtime.event_queue import Handler
from mesh_refresh.observing import CombinedObserver, Observer
from mesh_refresh.service import Webhooks
from mesh_refresh.service.supervision import Supervision
from mesh_refresh.stores import StoreError, WrongKey

_T = TypeVar("_T")

_PAGE = 200
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 10.0
"""Seconds between two tries to open a store that is away: the first, doubled each time, and the longest."""

_ONE_TAKER = "Leave out one of them: a notice is taken once."

_WRONG_KEY = {
    True: f"The store is sealed. Nothing was changed. Leave out --plaintext, and put its key into {KEYS_VARIABLE}.",
    False: (
        f"The store does not open with the keys in {KEYS_VARIABLE}. Nothing was changed. Use the key that sealed it, "
        "or --plaintext for a store without a key."
    ),
}


@frozen
class _Nowhere:
    """The transport of commands that send nothing to Mesh. It closes the user's own, which they do not use."""

    own: Transport | None

    async def send(self, request: HttpRequest) -> HttpReply:  # noqa: ARG002 - as the protocol names it
        raise NotSent

    async def aclose(self) -> None:
        if self.own is not None:
            await self.own.aclose()


def make_idle_client(app: App) -> MeshClient:
    """A client for commands that only read or change the store: it needs no keys of Mesh, and can send nothing."""
    nowhere = _Nowhere(app.transport)
    return MeshClient("none", "none", base_url="http://127.0.0.1", strategies=app.strategies, transport=nowhere)


def make_client(app: App, deadline: timedelta | None = None) -> MeshClient:
    """A client with the keys from the environment. Raises `InvalidRequest` if they are missing or malformed."""
    retry = RetryPolicy() if deadline is None else RetryPolicy(deadline=deadline)
    return MeshClient.from_env(retry=retry, strategies=app.strategies, transport=app.transport)


def make_policy(options: Mapping[str, timedelta | float | None], base: Policy | None = None) -> Policy:
    """`base`, or the default policy, with the fields in `options` that are not None.

    Raises `InvalidRequest` for a wrong value.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    return evolve(base or Policy(), **given)


@define
class OpenFleet:
    """A context manager: entering opens the store, leaving closes it.

    The event loop runs only inside `run`. In between a command can ask a person something, and Ctrl-C works there.
    """

    location: StoreLocation
    app: OwnApp = NO_APP
    make_client: Callable[[App], MeshClient] = make_idle_client
    make_policy: Callable[[Policy], Policy] = lambda policy: policy
    """Given the app's policy, or the default one."""
    background: bool = False
    spool: str | None = None
    """The folder; None: the one beside the store."""
    spools: bool = False
    """Whether the keeper has a spool: commands that send nothing need none."""
    create: bool = False
    """Make the store if there is none."""
    read_only: bool = False
    """Nothing is written, and a file is not upgraded."""
    on_event: Callable[[Event], object] | None = None
    make_webhooks: Callable[[Observer], Webhooks | None] = lambda _: None
    """Makes what posts notices; it tells this observer of each."""
    tell: Callable[[str], object] = say
    """Gets notes, and what a signal does."""
    supervision: Supervision | None = None
    """What probes and systemd see. With it, a store that is away at the start is waited for: it tells them so."""
    observer: Observer | None = None
    role: str | None = None
    """What other processes of the fleet read of this one; None: nothing. A process with a role takes notices."""
    announce: Callable[["OpenFleet"], object] = lambda _: None
    """Called before the store is opened, when all is known that it is opened with."""
    own: App = field(init=False)
    policy: Policy = field(init=False)
    mesh: MeshClient = field(init=False)
    webhooks: Webhooks | None = field(init=False)
    store: AnyStore = field(init=False)
    keeper: Keeper = field(init=False)
    loop: Loop = field(init=False)
    _observer: CombinedObserver = field(init=False)
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    _is_open: bool = field(default=False, init=False)
    """The store and the keeper have been entered."""

    def __enter__(self) -> Self:
        opening = self.location.open_store(create=self.create, read_only=self.read_only)
        self.loop = Loop(on_impatience=self._hurry)
        self.loop.__enter__()
        try:
            self.own = self.app.make(self.loop) or App()
            self._observer = CombinedObserver(*self._observers())
            self.webhooks = self.make_webhooks(self._observer)
            if self.webhooks is not None and self.own.on_notice is not None:
                raise Failure(f"--webhook and the on_notice of --app {self.app.name} both take notices. {_ONE_TAKER}")
            self.policy = self.make_policy(self.own.policy or Policy())
            self.mesh = self.make_client(self.own)
            self.announce(self)
            self.loop.run(self._open(opening))
        except BaseException as error:
            self._leave()
            self._translate(error)
            raise
        for what, next_step in self.location.open_to_others():
            self.tell(f"note: {what}: {next_step}")
        return self

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run `work`, and return its result. Raises `KeyboardInterrupt` if a signal came."""
        return self.loop.run(work)

    def pages(
        self, state: AccountState | None = None, broker: str | None = None
    ) -> Iterator[Sequence[Login | UnopenedRow]]:
        """The logins of `broker` with an account in this state, page by page; None: any."""
        page = page_of(_PAGE, state=state, broker=broker)
        while read := self.run(read_page(self.store, page)):
            yield read
            page = evolve(page, after=read[-1].login_id)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt) and self.keeper.health().in_flight:
            self.tell("interrupted: nothing more is sent; the results of what was sent are written first")
        self._leave()
        if error is not None:
            self._translate(error)

    async def _open(self, opening: AnyStore) -> None:
        enter = self._stack.enter_async_context
        if self.supervision is not None:
            await enter(self.supervision)
            self.supervision.begin("the store is being opened")
        await enter(self.mesh)
        try:
            self.store = await (enter(opening) if self.supervision is None else self._wait_for_store(opening))
        except WrongKey:
            raise Failure(_WRONG_KEY[self.location.plaintext], Exit.STORE) from None
        if self.webhooks is not None:
            await enter(self.webhooks)
        if self.supervision is not None:
            self.supervision.begin("the spool is being read")
        self.keeper = await enter(
            Keeper(
                self.mesh,
                self.store,
                policy=self.policy,
                background=self.background,
                spool=self.spool_folder(),
                on_event=self._handler(),
                on_notice=self.webhooks or (None if self.role is None else self.own.on_notice),
                observer=self._observer if self._observer.observers else None,
                role=self.role,
            )
        )
        self._is_open = True
        if self.supervision is not None:
            self._stack.push_async_callback(self.supervision.stop_calls)
            self.supervision.work(self.keeper)

    async def _wait_for_store(self, opening: AnyStore) -> AnyStore:
        """The store, entered as soon as it is there. Raises `StoreError` where waiting does not help."""
        wait = 0.0
        while True:
            try:
                return await self._stack.enter_async_context(opening)
            except StoreError as error:
                if exit_for(error) is not Exit.TRY_AGAIN:
                    raise
                if not wait:
                    self.tell(f"the store is not available, and is waited for: {error}")
            if self.supervision is not None:
                self.supervision.begin("the store is not available, and is waited for")
            wait = min(_LONGEST_WAIT, 2 * wait or _FIRST_WAIT)
            await asyncio.sleep(wait)
            opening = self.location.open_store(create=self.create)

    def spool_folder(self) -> Path | None:
        """Where new tokens wait while the store fails; None: this command needs no spool."""
        return self.location.spool(self.spool) if self.spools else None

    def _observers(self) -> list[Observer]:
        watched = None if self.supervision is None else self.supervision.observer
        return [observer for observer in (watched, self.observer, self.own.observer) if observer is not None]

    def _handler(self) -> Handler | None:
        """What is called with each event: the command's handler, and the app's."""
        handlers = [handler for handler in (self.on_event, self.own.on_event) if handler is not None]

        async def tell_each(event: Event) -> None:
            for handler in handlers:
                told = handler(event)
                if inspect.isawaitable(told):
                    await told

        return tell_each if handlers else None

    def _hurry(self) -> None:
        """A further signal has come."""
        if self.supervision is None or not self.supervision.hurry():
            self.tell("still waiting for replies; that can take a minute")

    def _leave(self) -> None:
        """Leave the keeper and the store. Exchanges under way end first; no signal breaks that off."""
        self.loop.closing()
        if self.supervision is not None:
            self.supervision.end()
        try:
            self.loop.run(self._stack.aclose())
        finally:
            self.loop.__exit__(None, None, None)

    def _translate(self, error: BaseException) -> None:
        if isinstance(error, WrongKey) and self._is_open:
            # The store has one of these keys, and this login another: a process writes with other keys.
            why = f"A login cannot be opened with these keys: {self.location.other_key()}"
            raise Failure(why, Exit.STORE) from None
        if isinstance(error, KeyboardInterrupt) and self.loop.exit_code is not Exit.INTERRUPTED:
            raise Failure("interrupted.", self.loop.exit_code) from None
