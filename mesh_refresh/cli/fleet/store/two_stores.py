"""Opens the two stores of a copy, and says what the copy will do before it begins."""

from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Self

from attrs import define, field

from mesh_refresh import MeshClient, MeshRefreshError
from mesh_refresh.cli.fleet.support.store_location import AnyStore, StoreLocation
from mesh_refresh.cli.terminal.exit_codes import exit_for
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure, format_count, one_line, say
from mesh_refresh.keeper import Way
from mesh_refresh.stores import LoginNames, Page, StoreDamaged, StoreError, WrongKey, sealing
from mesh_refresh.stores.store import Store

_SHOWN = 20
_SAMPLE = 100


@define
class TwoStores:
    """A context manager. `look` opens the stores, and leaving closes them."""

    _source_location: StoreLocation
    _target_location: StoreLocation
    loop: Loop
    source: AnyStore = field(init=False)
    target: AnyStore | None = field(default=None, init=False)
    """None if it has to be made, or is lost."""
    _why_lost: str = field(default="", init=False)
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.closing()
        self.loop.run(self._stack.aclose())

    def keep(self, mesh: MeshClient) -> None:
        """Close `mesh` at the end too."""
        self._stack.push_async_callback(mesh.aclose)

    def look(self, *, lost: bool = False) -> None:
        """Open FROM, and TO if it exists. With `lost`, a TO that cannot be opened is no error. Raises `Failure`."""
        self._target_location.cipher()  # wrong keys are an error before anything is opened
        self.source = self._open(self._source_location, create=False)
        if not self._target_location.in_postgres and not self._target_location.has_file():
            self._why_lost = "there is no such file"
            return
        try:
            self.target = self.loop.run(self._enter(self._target_location, create=False))
        except StoreError as error:
            if not lost:
                raise _name_store(self._target_location, error) from None
            self._why_lost = str(error)
            return
        if self.target.store_id == self.source.store_id:
            raise Failure("FROM and TO are the same store, or one is a copy of the other's file. Nothing was moved.")

    def make_target(self) -> AnyStore:
        """TO, made now if it did not exist."""
        if self.target is None:
            self.target = self._open(self._target_location, create=True)
        return self.target

    def plan(self) -> str:
        """What a copy will do, for the question to the person."""
        here = self._counts(self.source)
        moving = here[None]
        before = here[Way.MOVED]
        there = "is a new file" if self.target is None else self._has(self.target)
        return (
            f"{format_count(moving, 'login')} of FROM will move to TO, which {there}"
            f"{f'; {before} moved before' if before else ''}. FROM keeps them, marked as moved. Workers on FROM no "
            "longer refresh them; workers on TO do. The way back is `copy TO FROM`, or --take-back if TO is lost."
        )

    def plan_back(self) -> str:
        """What taking back will do, for the question to the person."""
        here = self._counts(self.source)
        away = here.total() - here[None]
        if self.target is None:
            there = f"TO cannot be opened ({self._why_lost}), so all of them will be taken back."
        else:
            other = " TO is another store than the one that they moved to." if self._went_elsewhere() else ""
            there = f"TO {self._has(self.target)}: logins in TO stay there; the others will be taken back.{other}"
        return (
            f"{format_count(away, 'login')} of FROM were moved, or are on their way. {there} FROM has their tokens "
            "from before the move, and TO may have spent them since. Stop the workers on TO first, for good: a token "
            "that both stores send may log its person out."
        )

    def _has(self, store: Store) -> str:
        return f"has {format_count(self._counts(store).total(), 'login')}"

    def _counts(self, store: Store) -> Counter[Way | None]:
        """Logins by how they are moved; None: at home."""
        found: Counter[Way | None] = Counter()
        for count in self.loop.run(store.counts(datetime.now(UTC))):
            found[next((way for way in Way if way in count.states), None)] += count.logins
        return found

    def _went_elsewhere(self) -> bool:
        """Whether one of the moved logins, of a sample, went to another store than TO."""
        for row in self.loop.run(self.source.rows(Page(_SAMPLE, states=frozenset({Way.MOVED})))):
            try:
                moving = sealing.open_row(self.source.cipher, row).moving
            except (WrongKey, StoreDamaged):
                continue
            if moving is not None and self.target is not None and moving.other != self.target.store_id:
                return True
        return False

    def _open(self, location: StoreLocation, *, create: bool) -> AnyStore:
        try:
            return self.loop.run(self._enter(location, create=create))
        except MeshRefreshError as error:
            raise _name_store(location, error) from None

    async def _enter(self, location: StoreLocation, *, create: bool) -> AnyStore:
        return await self._stack.enter_async_context(location.open_store(create=create))


def name_some(logins: LoginNames, what: str) -> None:
    """Say how many `logins` there are and `what` is the matter, then name the first of them, one a line."""
    if not logins.number:
        return
    say(f"{format_count(logins.number, 'login')} {what}:")
    for login_id in logins.first[:_SHOWN]:
        say(f"  {one_line(login_id)}")
    if logins.number > _SHOWN:
        say(f"  and {logins.number - _SHOWN} more")


def _name_store(location: StoreLocation, error: MeshRefreshError) -> Failure:
    """The failure for `error` of a store, with the name of the store on the command line."""
    keys = f" Its keys are in {location.used_variable()}." if isinstance(error, WrongKey) else ""
    return Failure(f"{location.named_by}: {error}{keys} Nothing was moved by this run.", exit_for(error))
