"""A store and its keeper, open for one command: what a command asks of them in turn, and how it ends."""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from attrs import define, field

from mesh_refresh import HttpReply, HttpRequest, InvalidRequest, MeshClient, MeshRefreshError, NotSent, RetryPolicy
from mesh_refresh.cli.fleet.support.store_location import KEYS_VARIABLE, AnyStore, StoreLocation
from mesh_refresh.cli.terminal.exit_codes import Exit, exit_for
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure, say
from mesh_refresh.keeper import Event, Keeper, Policy
from mesh_refresh.stores import WrongKey

_T = TypeVar("_T")

_WRONG_KEY = {
    True: f"The store is sealed: leave out --plaintext, and put its key into {KEYS_VARIABLE}.",
    False: f"The store does not open with what is in {KEYS_VARIABLE}: it has another key, or is plain text.",
}


class _Nowhere:
    """The transport of commands that have no business with Mesh."""

    async def send(self, request: HttpRequest) -> HttpReply:  # noqa: ARG002 - as the protocol names it
        raise NotSent

    async def aclose(self) -> None:
        return


def no_client() -> MeshClient:
    """For commands that only look: they need no keys of Mesh, and send nothing."""
    return MeshClient("none", "none", base_url="http://127.0.0.1", transport=_Nowhere())


def client(deadline: timedelta | None = None) -> MeshClient:
    """Raises `Failure` where the environment has no keys that will do."""
    try:
        retry = RetryPolicy() if deadline is None else RetryPolicy(deadline=deadline)
        return MeshClient.from_env(retry=retry)
    except InvalidRequest as error:
        raise Failure(str(error)) from None


def policy(**wishes: Any) -> Policy:
    """A policy with those of `wishes` that were said."""
    try:
        return Policy(**{name: value for name, value in wishes.items() if value is not None})
    except InvalidRequest as error:
        raise Failure(str(error)) from None


@define
class OpenFleet:
    """Enter it to open the store; errors become one line, with the exit code that tells of them.

    Between two calls of `run` the loop stands still, so that a person can be asked something, and Ctrl-C works there.
    """

    place: StoreLocation
    make_client: Callable[[], MeshClient] = no_client
    policy: Policy = field(factory=Policy)
    background: bool = False
    spool: str | None = None
    """The folder; where it is None, the one beside the store."""
    spools: bool = False
    create: bool = False
    """Make the store where there is none."""
    on_event: Callable[[Event], object] | None = None
    tell: Callable[[str], object] = say
    """How to tell of signals."""
    store: AnyStore = field(init=False)
    keeper: Keeper = field(init=False)
    loop: Loop = field(init=False)
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    _is_open: bool = field(default=False, init=False)
    """The store is, and the keeper with its spool."""

    def __enter__(self) -> Self:
        opening = self.place.opened(create=self.create)
        mesh = self.make_client()
        self.loop = Loop(on_impatience=lambda: self.tell("still waiting for what was sent; that can take a minute"))
        self.loop.__enter__()
        try:
            self.loop.run(self._open(opening, mesh))
        except BaseException as error:
            self._leave()
            self._translate(error)
            raise
        for note in self.place.open_to_others():
            self.tell(f"note: {note}")
        return self

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What `work` returns. Raises `KeyboardInterrupt` where a signal came."""
        return self.loop.run(work)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt) and self.keeper.health().in_flight:
            self.tell("interrupted: nothing more is sent, and what was sent is finished and written first")
        try:
            self._leave()
        except MeshRefreshError as left:
            self._translate(left)
        if error is not None:
            self._translate(error)

    async def _open(self, opening: AnyStore, mesh: MeshClient) -> None:
        enter = self._stack.enter_async_context
        await enter(mesh)
        try:
            self.store = await enter(opening)
        except WrongKey:
            raise Failure(f"{_WRONG_KEY[self.place.plaintext]} Nothing was changed.", Exit.STORE) from None
        spool = self.place.spool(self.spool) if self.spools else None
        self.keeper = await enter(
            Keeper(
                mesh, self.store, policy=self.policy, background=self.background, spool=spool, on_event=self.on_event
            )
        )
        self._is_open = True

    def _leave(self) -> None:
        """Whatever is under way ends first; no signal breaks that off."""
        self.loop.closing()
        try:
            self.loop.run(self._stack.aclose())
        finally:
            self.loop.__exit__(None, None, None)

    def _translate(self, error: BaseException) -> None:
        if isinstance(error, WrongKey) and self._is_open:
            # The store has one of these keys, and a login in it has another: somebody writes with keys of their own.
            raise Failure(f"A login cannot be opened with these keys: {self.place.other_key()}", Exit.STORE) from None
        if isinstance(error, MeshRefreshError):
            raise Failure(str(error), exit_for(error)) from None
        if isinstance(error, KeyboardInterrupt) and self.loop.exit_code is not Exit.INTERRUPTED:
            raise Failure("interrupted.", self.loop.exit_code) from None
