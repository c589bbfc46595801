"""PostgresStore keeps the contract of a store."""

from datetime import timedelta
from typing import ClassVar

import pytest

from mesh_refresh.stores import Store
from mesh_refresh.testing import OutboxConformance, RegistryConformance, StoreConformance
from tests.stores.postgres.postgres_handles import PartitionedHandles, PostgresHandles

pytestmark = pytest.mark.once


class TestPostgresStore(StoreConformance, OutboxConformance, RegistryConformance):
    kind: ClassVar[type[PostgresHandles]] = PostgresHandles

    @pytest.fixture(autouse=True)
    def handles(self, postgres: str) -> None:
        self.made = self.kind(postgres)

    async def make_store(self) -> Store:
        return await self.made.make()

    async def another(self, store: Store) -> Store:
        return await self.made.another(store)

    async def pass_time(self, store: Store, by: timedelta) -> None:
        await self.made.pass_time(by)


@pytest.mark.once
class TestPartitionedStore(TestPostgresStore):
    """With the logins in several tables, by a hash of their ids."""

    kind = PartitionedHandles
