"""Opens a store and its keeper for one command."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Self, TypeVar

from attrs import define, field

from mesh_refresh import HttpReply, HttpRequest, MeshClient, NotSent, RetryPolicy
from mesh_refresh.cli.fleet.support.store_location import KEYS_VARIABLE, AnyStore, StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit, exit_for
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure, say
from mesh_refresh.keeper import Event, Keeper, Policy
from mesh_refresh.service import Webhooks
from mesh_refresh.service.supervision import Supervision
from mesh_refresh.stores import StoreError, WrongKey

_T = TypeVar("_T")

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 10.0
"""Seconds between two tries to open a store that is away: the first, doubled each time, and the longest."""

_WRONG_KEY = {
    True: f"The store is sealed. Nothing was changed. Leave out --plaintext, and put its key into {KEYS_VARIABLE}.",
    False: (
        f"The store does not open with the keys in {KEYS_VARIABLE}. Nothing was changed. Use the key that sealed it, "
        "or --plaintext for a store without a key."
    ),
}


class _Nowhere:
    """The transport of commands that send nothing to Mesh."""

    async def send(self, request: HttpRequest) -> HttpReply:  # noqa: ARG002 - as the protocol names it
        raise NotSent

    async def aclose(self) -> None:
        return


def make_idle_client() -> MeshClient:
    """A client for commands that only read or change the store: it needs no keys of Mesh, and can send nothing."""
    return MeshClient("none", "none", base_url="http://127.0.0.1", transport=_Nowhere())


def make_client(deadline: timedelta | None = None) -> MeshClient:
    """A client with the keys from the environment. Raises `InvalidRequest` if they are missing or malformed."""
    return MeshClient.from_env(retry=RetryPolicy() if deadline is None else RetryPolicy(deadline=deadline))


def make_policy(**options: timedelta | float | None) -> Policy:
    """A policy with these fields; None leaves a field at its default. Raises `InvalidRequest` for a wrong value."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    return Policy(**given)


@define
class OpenFleet:
    """A context manager: entering opens the store, leaving closes it.

    The event loop runs only inside `run`. In between a command can ask a person something, and Ctrl-C works there.
    """

    location: StoreLocation
    make_client: Callable[[], MeshClient] = make_idle_client
    policy: Policy = field(factory=Policy)
    background: bool = False
    spool: str | None = None
    """The folder; None: the one beside the store."""
    spools: bool = False
    """Whether the keeper has a spool: commands that send nothing need none."""
    create: bool = False
    """Make the store if there is none."""
    on_event: Callable[[Event], object] | None = None
    webhooks: Webhooks | None = None
    """Where notices are posted."""
    tell: Callable[[str], object] = say
    """Gets notes, and what a signal does."""
    supervision: Supervision | None = None
    """What probes and systemd see. With it, a store that is away at the start is waited for: it tells them so."""
    role: str | None = None
    """What other processes of the fleet read of this one; None: nothing."""
    store: AnyStore = field(init=False)
    keeper: Keeper = field(init=False)
    loop: Loop = field(init=False)
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    _is_open: bool = field(default=False, init=False)
    """The store and the keeper have been entered."""

    def __enter__(self) -> Self:
        opening = self.location.open_store(create=self.create)
        mesh = self.make_client()
        self.loop = Loop(on_impatience=self._hurry)
        self.loop.__enter__()
        try:
            self.loop.run(self._open(opening, mesh))
        except BaseException as error:
            self._leave()
            self._translate(error)
            raise
        for note in self.location.open_to_others():
            self.tell(f"note: {note}")
        return self

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run `work`, and return its result. Raises `KeyboardInterrupt` if a signal came."""
        return self.loop.run(work)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt) and self.keeper.health().in_flight:
            self.tell("interrupted: nothing more is sent; the results of what was sent are written first")
        self._leave()
        if error is not None:
            self._translate(error)

    async def _open(self, opening: AnyStore, mesh: MeshClient) -> None:
        enter = self._stack.enter_async_context
        if self.supervision is not None:
            await enter(self.supervision)
            self.supervision.begin("the store is being opened")
        await enter(mesh)
        try:
            self.store = await (enter(opening) if self.supervision is None else self._wait_for_store(opening))
        except WrongKey:
            raise Failure(_WRONG_KEY[self.location.plaintext], Exit.STORE) from None
        if self.webhooks is not None:
            await enter(self.webhooks)
        if self.supervision is not None:
            self.supervision.begin("the spool is being read")
        spool = self.location.spool(self.spool) if self.spools else None
        self.keeper = await enter(
            Keeper(
                mesh,
                self.store,
                policy=self.policy,
                background=self.background,
                spool=spool,
                on_event=self.on_event,
                on_notice=self.webhooks,
                observer=None if self.supervision is None else self.supervision.observer,
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
