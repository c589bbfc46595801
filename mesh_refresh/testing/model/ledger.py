"""Every token that was ever issued, what became of it, and who holds it."""

import re
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from random import Random

from attrs import define, field, frozen

from mesh_refresh.masking import masked
from mesh_refresh.testing.model.holdings import Held, Holdings, counted, held_as
from mesh_refresh.tokens import Tokens

# What `Ledger.issue` makes: characters that real tokens have, and that a sloppy client would change or escape.
_TOKEN = re.compile(r"fake-[a-z]+-\d+\|[0-9a-f]{16}/\+#")


class TokenKind(Enum):
    """What a token is for."""

    REFRESH = "refresh"
    ACCESS = "access"
    TOKEN_ID = "id"
    TRADE = "trade"


class End(Enum):
    """Why a refresh token is no longer good."""

    SPENT = "spent by a refresh"
    SIBLING = "died when a sibling's was spent"
    REVOKED = "revoked by its owner"
    REUSE = "revoked because a spent one was sent again"
    REPLACED = "replaced by a new login"


@define(eq=False)
class Issued:
    """One token, from its birth on."""

    value: str = field(repr=masked)
    kind: TokenKind
    login: str
    account: str | None
    """None where several accounts have it, or where the account has no id."""
    issued_at: datetime
    ends_at: datetime | None = None
    ended_at: datetime | None = None
    end: End | None = None
    successors: tuple[str, ...] = field(default=(), repr=counted)
    """The refresh tokens that came for it."""

    def alive(self, now: datetime) -> bool:
        """Whether the broker would take it at `now`."""
        return self.end is None and (self.ends_at is None or now < self.ends_at)


@frozen
class Reuse:
    """A refresh token that was sent after its end: what a client must never do."""

    login: str
    account: str | None
    broker: str
    at: datetime
    end: End
    """What had ended it."""
    revoked: bool
    """Whether the broker revoked everything for it."""


class Withheld(Enum):
    """Why a new refresh token did not go out whole."""

    BY_FAULT = "the fault withheld the reply, or this part of it"
    HUNG_UP = "the client had hung up before the reply was written"


@frozen
class Undelivered:
    """A new refresh token that was never on the wire whole."""

    login: str
    account: str | None
    broker: str
    why: Withheld
    value: str = field(repr=masked)


@define(eq=False)
class Ledger:
    """The record of every token that was ever issued. No token is removed from it."""

    random: Random = field(repr=False)
    tokens: dict[str, Issued] = field(factory=dict, repr=counted)
    held: Holdings = field(factory=Holdings)
    """Tokens that a program says it has saved."""
    reuses: list[Reuse] = field(factory=list)
    placed: set[tuple[str, str]] = field(factory=set, repr=counted)
    """Logins, each with a value that a program says it keeps for the login."""
    undelivered: dict[str, Undelivered] = field(factory=dict, repr=counted)
    """By value; a value that goes out whole after all is struck from it."""

    def issue(self, kind: TokenKind, login: str, account: str | None, at: datetime, ends_at: datetime | None) -> str:
        """A new token's value."""
        value = f"fake-{kind.value}-{len(self.tokens) + 1}|{self.random.getrandbits(64):016x}/+#"
        self.tokens[value] = Issued(value, kind, login, account, at, ends_at)
        return value

    def find(self, value: str | None, kind: TokenKind) -> Issued | None:
        """The record of `value`, where it is a token of that kind."""
        record = self.tokens.get(value or "")
        return record if record is not None and record.kind is kind else None

    def end(self, value: str | None, why: End, at: datetime) -> None:
        """Note the end of `value`; the first one stands."""
        record = self.tokens.get(value or "")
        if record is not None and record.end is None:
            record.end, record.ended_at = why, at

    def hold(self, tokens: Tokens) -> None:
        """Record that a program holds these tokens, together."""
        self.held.add(held_as(tokens))

    def hold_text(self, text: bytes) -> None:
        """Record that a program holds every token that stands whole in `text`."""
        self.held.add(Held(frozenset(self.found_in(text)), is_loose=True))

    def found_in(self, text: bytes) -> set[str]:
        """Every token that was issued and stands whole in `text`."""
        return {value for value in _TOKEN.findall(text.decode("utf-8", "replace")) if value in self.tokens}

    def live(self, kind: TokenKind, now: datetime) -> Iterator[Issued]:
        """All that are good at `now`."""
        return (record for record in self.tokens.values() if record.kind is kind and record.alive(now))

    def is_withheld(self, value: str) -> Withheld | None:
        """Why `value` was never delivered, or None where it was."""
        item = self.undelivered.get(value)
        return item.why if item else None
