"""The tokens of one login: the pairs that the broker knows, and the strings that Mesh made of them."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from attrs import define, field

from mesh_refresh.masking import masked
from mesh_refresh.testing.fake.options import LoginOptions, Sharing
from mesh_refresh.testing.model.ledger import End, Ledger, TokenKind


@define(eq=False)
class Seat:
    """One account of a login, with the strings that are its own now."""

    account_id: str
    mesh_account_id: str
    pair: int
    """Which of the broker's pairs its strings stand for."""
    refresh: str | None = field(default=None, repr=masked)
    """What an exchange spends; None where it has none that is good."""
    access: str | None = field(default=None, repr=masked)
    """The access token, or the token id that stands for it."""


@define(eq=False)
class Seats:
    """The accounts of one login; every change to their tokens goes through here."""

    login: str
    options: LoginOptions
    ledger: Ledger = field(repr=False)
    all: tuple[Seat, ...]

    def follow(self, options: LoginOptions) -> None:
        """Take other options from here on. Accounts that share in another way do so with their next tokens."""
        if options.accounts != len(self.all):
            raise ValueError("A login keeps its number of accounts: make another login.")
        if options.sharing is not self.options.sharing:
            for number, seat in enumerate(self.all, 1):
                seat.pair = number if options.sharing is Sharing.PAIR_EACH else 0
        self.options = options

    @classmethod
    def of(cls, login: str, options: LoginOptions, ledger: Ledger, ids: Mapping[str, str]) -> "Seats":
        """One for each account id with Mesh's id, without tokens yet."""
        each = options.sharing is Sharing.PAIR_EACH
        seats = (Seat(name, mesh_id, n if each else 0) for n, (name, mesh_id) in enumerate(ids.items(), 1))
        return cls(login, options, ledger, tuple(seats))

    def with_refresh(self, value: str) -> tuple[Seat, ...]:
        """Those whose refresh token in force is `value`: several where they share one pair."""
        return tuple(seat for seat in self.all if seat.refresh == value)

    def has_access(self, value: str) -> bool:
        """Whether `value` was issued to this login as an access token or token id.

        One that has run out is taken too, but none from before the person logged in once more.
        """
        record = self.ledger.tokens.get(value)
        if record is None or record.end is not None:
            return False
        return record.login == self.login and record.kind in (TokenKind.ACCESS, TokenKind.TOKEN_ID)

    def renew_access(self, seats: Iterable[Seat], at: datetime, ends_at: datetime | None) -> None:
        """A new access token for each of `seats`; one for all of them where they share their strings."""
        if self.options.spends_access_token:
            return  # it comes with the next one to be spent, which it is
        kind = TokenKind.TOKEN_ID if self.options.token_ids else TokenKind.ACCESS
        self._fill("access", kind, seats, at, ends_at)

    def renew_refresh(self, seats: Iterable[Seat], at: datetime, ends_at: datetime | None) -> tuple[str, ...]:
        """A new refresh token likewise; what they stood for before ends. Gives the new values."""
        seats = tuple(seats)
        for pair in {seat.pair for seat in seats}:
            for seat in self.all:
                if seat.pair == pair:
                    # Refreshing one pair upstream kills every string that stood for it.
                    self.ledger.end(seat.refresh, End.SIBLING, at)
                    seat.refresh = None
        if not self.options.spends_access_token:
            return self._fill("refresh", TokenKind.REFRESH, seats, at, ends_at)
        issued = self._fill("refresh", TokenKind.REFRESH, seats, at, None)
        for seat in self.all:
            seat.access = seat.refresh or seat.access
        return issued

    def end_refresh(self, seats: Iterable[Seat], why: End, at: datetime) -> None:
        """Take the refresh tokens of `seats` out of force."""
        for seat in seats:
            self.ledger.end(seat.refresh, why, at)
            seat.refresh = None

    def end_access(self, why: End, at: datetime) -> None:
        """Take every access token and token id of the login out of force."""
        for record in self.ledger.tokens.values():
            if record.login == self.login and record.kind in (TokenKind.ACCESS, TokenKind.TOKEN_ID):
                self.ledger.end(record.value, why, at)

    def _fill(
        self, name: str, kind: TokenKind, seats: Iterable[Seat], at: datetime, ends_at: datetime | None
    ) -> tuple[str, ...]:
        shared = self.options.sharing is Sharing.ONE_PAIR
        # One string stands for all that share the pair, also for those that the reply does not list.
        targets = self.all if shared else tuple(seats)
        common = self.ledger.issue(kind, self.login, self._owner(targets), at, ends_at) if shared else None
        values: list[str] = []
        for seat in targets:
            value = common or self.ledger.issue(kind, self.login, seat.account_id, at, ends_at)
            setattr(seat, name, value)
            values.append(value)
        return tuple(dict.fromkeys(values))

    def _owner(self, seats: tuple[Seat, ...]) -> str | None:
        return seats[0].account_id if len(seats) == 1 else None


def end_of(lifetime: timedelta | None, at: datetime) -> datetime | None:
    """When something that is issued at `at` for `lifetime` ends; None for no end."""
    return None if lifetime is None else at + lifetime
