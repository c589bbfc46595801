import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mesh_refresh.stores.postgres.connection.connecting import connect
from tests.stores.postgres.bystander import Fleet, connected
from tests.stores.postgres.postgres_handles import new_schema

_BESIDE = re.compile("typeinfo_tree|set_config|BEGIN|COMMIT|pg_notify")
"""Each connection asks once what an array of times is, and keepers are woken when nobody waits for it."""


@pytest.fixture
async def empty(postgres: str) -> AsyncIterator[Fleet]:
    """A schema that is still to be made."""
    async with connected(postgres) as connection:
        yield Fleet(postgres, new_schema(), connection)


@pytest.fixture
async def fleet(empty: Fleet) -> Fleet:
    """A store with nothing in it."""
    async with empty.store(migrate=True):
        return empty


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What stores send that are opened from now on, in order."""
    sent: list[str] = []

    def hear(record: Any) -> None:
        if not _BESIDE.search(record.query):
            sent.append(record.query)

    async def heard(to: Any) -> Any:
        connection = await connect(to)
        connection.add_query_logger(hear)
        return connection

    monkeypatch.setattr("mesh_refresh.stores.postgres.connection.pool.connect", heard)
    return sent
