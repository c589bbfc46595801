"""Whose tokens an account holds: the ledger of the fake Mesh knows for whom it has issued each."""

import re
from collections.abc import Iterator, Mapping

from mesh_refresh.logins import Account
from mesh_refresh.testing import FakeLogin, FakeMesh
from mesh_refresh.testing.model.ledger import Issued

ANY = re.compile(r"fake-[a-z]+-\d+\|[0-9a-f]{16}/\+#")


def of_others(issued: Mapping[str, Issued], owner: str, account: Account) -> Iterator[Issued]:
    """Tokens of `account`, and of the continuation it waits with, that were issued to another login than `owner`.

    The body of a reply that could not be taken is no part of it: that may be anybody's.
    """
    values = set(account.tokens.secrets)
    if account.pending is not None:
        values.update(ANY.findall(account.pending.document))
    for value in sorted(values):
        record = issued.get(value)
        if record is not None and record.login != owner:
            yield record


def give_own_ids(fake: FakeMesh, login: FakeLogin) -> FakeLogin:
    """Account ids that no other login has: else the reply to another person names accounts that this one has too."""
    renamed = {seat.account_id: f"{login.id}-{seat.account_id}" for seat in login.seats.all}
    for seat in login.seats.all:
        seat.account_id = renamed[seat.account_id]
    for record in fake.ledger.tokens.values():
        if record.login == login.id and record.account is not None:
            record.account = renamed[record.account]
    login.tokens = login.live
    return login
