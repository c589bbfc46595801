"""Misplaced tokens: kept for one login and issued to another. Every test asserts that there are none. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from attrs import field, frozen

from mesh_refresh.masking import masked
from mesh_refresh.testing.model.ledger import Ledger, TokenKind
from mesh_refresh.testing.model.logins import FakeLogin


@frozen
class Misplaced:
    """A token that is kept for one login, and was issued to another."""

    kept_for: str
    login: str
    """The login that it was issued to."""
    account: str | None
    broker: str
    kind: TokenKind
    value: str = field(repr=masked)


def misplaced(
    placed: Iterable[tuple[str, str]], ledger: Ledger, logins: Mapping[str, FakeLogin]
) -> Iterator[Misplaced]:
    """Those of `placed`, pairs of a login and a value kept for it, that were issued to another login."""
    for login, value in placed:
        record = ledger.tokens.get(value)
        if record is not None and record.login != login:
            broker = logins[record.login].broker
            yield Misplaced(login, record.login, record.account, broker, record.kind, value)
