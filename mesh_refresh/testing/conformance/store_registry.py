"""What a store with a registry must do with what processes tell each other."""

import asyncio
from datetime import timedelta

from mesh_refresh.stores import ProcessReport, Registry, Store, StoredFigures
from mesh_refresh.testing.conformance.store_kit import LEASE, MICROSECOND, NOW, ODD_TEXTS, SECOND, StoreKit


class RegistryConformance(StoreKit):
    """Derive your test class from this as well, where your store has a `registry`."""

    async def test_each_process_has_its_last_report(self) -> None:
        """In the order of their names, in every handle; one that ends takes its own away."""
        async with self.shared() as (store, other):
            reports = [ProcessReport(text, text, NOW + MICROSECOND, text.encode()) for text in ODD_TEXTS]
            for report in reports:
                await registry_of(store).put_report(ProcessReport(report.process, "before", NOW, b"before"))
                await registry_of(other).put_report(report)
            in_order = sorted(reports, key=lambda report: report.process)
            assert list(await registry_of(other).reports()) == in_order
            assert await registry_of(store).delete_report(in_order[0].process) is True
            assert await registry_of(store).delete_report(in_order[0].process) is False
            assert list(await registry_of(other).reports()) == in_order[1:]

    async def test_processes_that_are_silent_are_forgotten(self) -> None:
        """Those that said nothing since then, the very moment left."""
        async with self.opened() as store:
            for number in range(4):
                await registry_of(store).put_report(ProcessReport(str(number), "run", NOW + number * SECOND, b""))
            assert await registry_of(store).purge_reports(NOW + 2 * SECOND) == 2
            assert [report.process for report in await registry_of(store).reports()] == ["2", "3"]
            assert await registry_of(store).purge_reports(NOW) == 0

    async def test_a_duty_has_one_owner(self) -> None:
        """To the very end of its lease, which the owner renews; duties of other names are apart."""
        async with self.shared() as (store, other):
            one, two = registry_of(store), registry_of(other)
            assert await one.claim_duty("count", "me", LEASE) is True
            assert await two.claim_duty("count", "other", LEASE) is False
            assert await two.claim_duty("purge", "other", LEASE) is True
            await self.pass_time(store, LEASE - MICROSECOND)
            assert await two.claim_duty("count", "other", LEASE) is False
            assert await one.claim_duty("count", "me", 2 * LEASE) is True
            await self.pass_time(store, 2 * LEASE - MICROSECOND)
            assert await two.claim_duty("count", "other", LEASE) is False
            await self.pass_time(store, MICROSECOND)
            assert await two.claim_duty("count", "other", LEASE) is True
            assert await one.claim_duty("count", "me", LEASE) is False

    async def test_a_duty_can_be_given_back(self) -> None:
        """By its owner alone; then any other may have it."""
        async with self.opened() as store:
            registry = registry_of(store)
            assert await registry.release_duty("count", "me") is False
            assert await registry.claim_duty("count", "me", LEASE) is True
            for owner in ("other", "Me", ""):
                assert await registry.release_duty("count", owner) is False
            assert await registry.claim_duty("count", "other", LEASE) is False
            assert await registry.release_duty("count", "me") is True
            assert await registry.release_duty("count", "me") is False
            assert await registry.claim_duty("count", "other", LEASE) is True

    async def test_one_of_many_gets_the_duty(self) -> None:
        """However many ask at once, by any handle."""
        async with self.shared() as (store, other):
            asked = [registry_of((store, other)[n % 2]).claim_duty("count", str(n), LEASE) for n in range(20)]
            assert (await asyncio.gather(*asked)).count(True) == 1

    async def test_the_last_figures_are_kept(self) -> None:
        """With their time; none before the fleet was counted."""
        async with self.shared() as (store, other):
            assert await registry_of(store).figures() is None
            for number in (1, 2):
                figures = StoredFigures(NOW + timedelta(microseconds=number), b"%d" % number)
                await registry_of(store).put_figures(figures)
                assert await registry_of(other).figures() == figures


def registry_of(store: Store) -> Registry:
    """The one that it must have."""
    assert store.registry is not None, "this store has no registry: leave RegistryConformance away"
    return store.registry
