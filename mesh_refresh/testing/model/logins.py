"""A person's login at a fake broker."""

from datetime import datetime
from typing import Any

from attrs import define, field

from mesh_refresh.clock import Clock
from mesh_refresh.masking import masked
from mesh_refresh.testing.fake.options import LoginOptions
from mesh_refresh.testing.fake.upstream import Seat, Seats, end_of
from mesh_refresh.testing.model.holdings import counted
from mesh_refresh.testing.model.ledger import End, Issued, TokenKind
from mesh_refresh.tokens import DELAYED_AUTH, Tokens


@define(eq=False)
class OpenQuestion:
    """An MFA exchange that waits for its code."""

    refresh: str = field(repr=masked)
    access: str | None = field(repr=masked)
    """The access token that the next request must bring."""
    round: int = 1


def _followed(login: "FakeLogin", _: object, options: LoginOptions) -> LoginOptions:
    login.seats.follow(options)
    return options


@define(eq=False)
class FakeLogin:
    """One login at one broker, with one or several accounts. `FakeMesh.login` makes it."""

    id: str
    broker: str
    options: LoginOptions = field(on_setattr=_followed)
    """How it behaves; replace it (``attrs.evolve``) to change that on the way."""
    ref: str | int | None
    seats: Seats = field(repr=False)
    clock: Clock = field(repr=False)
    trade_token: str | None = field(default=None, repr=masked)
    """The trade token that was last sent, or that the login began with. Mesh never returns it."""
    tokens: tuple[Tokens, ...] = ()
    """What the person's application got from Link: one for each account. Refreshing does not change it."""
    pending: list[OpenQuestion] = field(factory=list)
    refused: bool = False
    """The owner has revoked it."""
    forgotten: set[str] = field(factory=set, repr=counted)
    """Tokens from before the person logged in once more: nothing that is good now descends from them."""
    codes_asked: int = 0
    """How many codes were sent to the person."""

    @property
    def token(self) -> Tokens:
        """The first, or only, of `tokens`."""
        return self.tokens[0]

    @property
    def code(self) -> str:
        """The MFA code that is right now; every demand for a code makes a new one."""
        return f"{(self.codes_asked * 7919 + 424242) % 1_000_000:06d}"

    @property
    def live(self) -> tuple[Tokens, ...]:
        """The accounts with the tokens that are in force now: what a database should hold."""
        return tuple(self._as_tokens(seat) for seat in self.seats.all)

    @property
    def account_ids(self) -> tuple[str, ...]:
        """The broker's ids of its accounts."""
        return tuple(seat.account_id for seat in self.seats.all)

    def link_payload(self) -> dict[str, Any]:
        """What Link hands over for `tokens`: ``accessTokenPayload``, or ``delayedAuth`` for a delayed login."""
        payload: dict[str, Any] = {"brokerType": self.broker, "brokerName": self.broker.title()}
        payload["brokerBrandInfo"] = {"brokerLogo": ""}
        options = self.options
        if options.refresh_lifetime is not None and not options.spends_access_token:
            payload["refreshTokenExpiresInSeconds"] = int(options.refresh_lifetime.total_seconds())
        if options.delayed:
            return {**payload, "refreshToken": self.token.refresh_token}
        if options.access_lifetime is not None:
            payload["expiresInSeconds"] = int(options.access_lifetime.total_seconds())
        entries = zip(self.seats.all, self.tokens, strict=True)
        payload["accountTokens"] = [
            entry_of(seat, (tokens.refresh_token, tokens.access_token, tokens.token_id), named=options.named)
            for seat, tokens in entries
        ]
        return payload

    def revoke(self) -> None:
        """The person disconnects the application at the broker: nothing of this login is good any more."""
        self.refused = True
        self.pending.clear()
        self.seats.end_refresh(self.seats.all, End.REVOKED, self.clock.now())
        self.seats.end_access(End.REVOKED, self.clock.now())

    def again(self) -> tuple[Tokens, ...]:
        """The person logs in once more: new `tokens` for the same accounts. What there was before is refused."""
        now = self.clock.now()
        self.refused = False
        self.pending.clear()
        self.seats.end_refresh(self.seats.all, End.REPLACED, now)
        self.seats.end_access(End.REPLACED, now)
        self.forgotten.update(it.value for it in self.seats.ledger.tokens.values() if it.login == self.id)
        options = self.options
        if options.refreshable:
            self.seats.renew_refresh(self.seats.all, now, end_of(options.refresh_lifetime, now))
        if not options.delayed:
            self.seats.renew_access(self.seats.all, now, end_of(options.access_lifetime, now))
        self.tokens = self.live
        for tokens in self.tokens:
            self.seats.ledger.hold(tokens)
        return self.tokens

    def access_ends(self, access: Issued | None) -> datetime | None:
        """When this access token of the login ends; None where that is not told."""
        if access is None or not self.options.spends_access_token:
            return access.ends_at if access else None
        return end_of(self.options.access_lifetime, access.issued_at)  # it may be spent after that

    def _as_tokens(self, seat: Seat) -> Tokens:
        ledger, options = self.seats.ledger, self.options
        refresh = ledger.find(seat.refresh, TokenKind.REFRESH)
        access = ledger.tokens.get(seat.access or "")
        managed = access is not None and access.kind is TokenKind.TOKEN_ID
        if options.spends_access_token:
            refresh = None
        waits = options.delayed and access is None and refresh is not None
        return Tokens(
            self.broker,
            None if options.spends_access_token else seat.refresh,
            access_token=None if managed else seat.access,
            token_id=seat.access if managed else None,
            trade_token=self.trade_token,
            account_id=seat.account_id if options.named else None,
            mesh_account_id=seat.mesh_account_id if options.named else None,
            account_name=_name_of(seat) if options.named else None,
            broker_name=self.broker.title(),
            ref=self.ref,
            obtained_at=_born(access) or _born(refresh),
            expires_at=self.access_ends(access),
            refresh_token_expires_at=refresh.ends_at if refresh else None,
            not_before=refresh.issued_at + DELAYED_AUTH if waits and refresh else None,
        )


def _born(record: Issued | None) -> datetime | None:
    return record.issued_at if record else None


def _name_of(seat: Seat) -> str:
    return f"Fake account {seat.account_id}"


def account_of(seat: Seat) -> dict[str, Any]:
    """The account in Mesh's words."""
    balance = {"symbol": "USD", "buyingPower": 20.5, "cryptoBuyingPower": 20.5, "cash": 10.25}
    return {
        "meshAccountId": seat.mesh_account_id,
        "accountId": seat.account_id,
        "accountName": _name_of(seat),
        "fund": 20.5,
        "cash": 10.25,
        "isReconnected": False,
        "balances": [balance],
    }


def entry_of(seat: Seat, tokens: tuple[str | None, str | None, str | None], *, named: bool = True) -> dict[str, Any]:
    """An entry of ``brokerAccountTokens`` or ``accountTokens`` with (refresh token, access token, token id)."""
    refresh, access, token_id = tokens
    entry: dict[str, Any] = {"account": account_of(seat)} if named else {}
    parts = {"accessToken": access, "refreshToken": refresh, "tokenId": token_id}
    return {**entry, **{name: value for name, value in parts.items() if value is not None}}
