"""The two stores of a copy, open for one command, and what will become of their logins: told before it begins."""

from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from attrs import define, field

from mesh_refresh import MeshRefreshError
from mesh_refresh.cli.fleet.support.store_location import AnyStore, StoreLocation
from mesh_refresh.cli.terminal.exit_codes import exit_for
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure, counted, one_line, say
from mesh_refresh.keeper import Way
from mesh_refresh.stores import LoginNames, Page, StoreDamaged, StoreError, WrongKey
from mesh_refresh.stores.sealing import opened
from mesh_refresh.stores.store import Store

_SHOWN = 20
_SAMPLE = 100


@define
class TwoStores:
    """Enter it, and `look`; what was opened is closed at its end."""

    _source_place: StoreLocation
    _target_place: StoreLocation
    loop: Loop
    source: AnyStore = field(init=False)
    target: AnyStore | None = field(default=None, init=False)
    """None where it is still to be made, or is lost."""
    _why_lost: str = field(default="", init=False)
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.loop.closing()
        self.loop.run(self._stack.aclose())

    def look(self, *, lost: bool = False) -> None:
        """Open FROM, and TO where it is there; with `lost`, TO may be one that cannot be opened. Raises `Failure`."""
        self._target_place.cipher()  # what is wrong with its keys is said before anything is opened
        self.source = self._opened(self._source_place, create=False)
        if not self._target_place.in_postgres and not self._target_place.has_file():
            self._why_lost = "there is no such file"
            return
        try:
            self.target = self.loop.run(self._enter(self._target_place, create=False))
        except StoreError as error:
            if not lost:
                raise _named(self._target_place, error) from None
            self._why_lost = str(error)
            return
        if self.target.store_id == self.source.store_id:
            raise Failure("FROM and TO are the same store, or one is a copy of the other's file. Nothing was moved.")

    def made_target(self) -> AnyStore:
        """TO, which is made where it was not there."""
        if self.target is None:
            self.target = self._opened(self._target_place, create=True)
        return self.target

    def plan(self) -> str:
        """What a copy will do."""
        here = self._counts(self.source)
        moving = here[None]
        before = here[Way.MOVED]
        there = "is a new file, and is made" if self.target is None else self._has(self.target)
        return (
            f"{counted(moving, 'login')} of FROM go to TO, which {there}"
            f"{f'; {before} went before' if before else ''}. FROM keeps them, marked as moved, and its workers refresh "
            "them no more: workers on TO do. The way back is `copy TO FROM`, or --take-back where TO is lost."
        )

    def plan_back(self) -> str:
        """What taking back will do."""
        here = self._counts(self.source)
        away = here.total() - here[None]
        if self.target is None:
            there = f"TO cannot be opened ({self._why_lost}), so that all of them are taken back."
        else:
            other = " It is another store than the one that they went to." if self._went_elsewhere() else ""
            there = f"TO {self._has(self.target)}: what it holds stays there, and the others are taken back.{other}"
        return (
            f"{counted(away, 'login')} of FROM were moved, or are on their way. {there} FROM has their tokens as they "
            "were before the move, which may be spent since: end the workers on the lost store first, for good, since "
            "a token that is sent from both stores may log its person out."
        )

    def _has(self, store: Store) -> str:
        return f"has {counted(self._counts(store).total(), 'login')}"

    def _counts(self, store: Store) -> Counter[Way | None]:
        """Logins by how they are moved; None: at home."""
        found: Counter[Way | None] = Counter()
        for count in self.loop.run(store.counts(datetime.now(UTC))):
            found[next((way for way in Way if way in count.states), None)] += count.logins
        return found

    def _went_elsewhere(self) -> bool:
        """Whether, of some logins that were moved, one went to another store than TO."""
        for row in self.loop.run(self.source.rows(Page(_SAMPLE, states=frozenset({Way.MOVED})))):
            try:
                moving = opened(self.source.cipher, row).moving
            except (WrongKey, StoreDamaged):
                continue
            if moving is not None and self.target is not None and moving.to != self.target.store_id:
                return True
        return False

    def _opened(self, place: StoreLocation, *, create: bool) -> AnyStore:
        try:
            return self.loop.run(self._enter(place, create=create))
        except MeshRefreshError as error:
            raise _named(place, error) from None

    async def _enter(self, place: StoreLocation, *, create: bool) -> AnyStore:
        return await self._stack.enter_async_context(place.opened(create=create))


def name_some(logins: LoginNames, what: str) -> None:
    """A line for each of the first `logins`, and how many more there are."""
    if not logins.number:
        return
    say(f"{counted(logins.number, 'login')} {what}:")
    for login_id in logins.first[:_SHOWN]:
        say(f"  {one_line(login_id)}")
    if logins.number > _SHOWN:
        say(f"  and {logins.number - _SHOWN} more")


def _named(place: StoreLocation, error: MeshRefreshError) -> Failure:
    """What is wrong with a store, with the name that it has here."""
    keys = f" Its keys are in {place.used_variable()}." if isinstance(error, WrongKey) else ""
    return Failure(f"{place.named_by}: {error}{keys} Nothing was moved by this run.", exit_for(error))
