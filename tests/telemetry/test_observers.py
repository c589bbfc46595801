"""What a client tells its observer, and what an observer that misbehaves does to it."""

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import InvalidRequest, MfaRequired, RetryPolicy, TokensRefused
from mesh_refresh.telemetry import CombinedObserver, Observation
from mesh_refresh.testing import FakeMesh, Fault
from tests.client.odd_parts import bounded, raising


class Noting:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told = list[Any]()

    def observe(self, told: Observation, /) -> None:
        self.told.append(told)


async def test_each_exchange_is_told_once(fake: FakeMesh) -> None:
    """With its broker, its outcome and what it took; two callers who share it are one exchange."""
    noting = Noting()
    kept = RetryPolicy(max_requests=2, backoff=timedelta())
    async with fake.client(observer=CombinedObserver(noting, noting), retry=kept) as mesh:
        fake.fail(Fault.throttle(retry_after=0), times=1)
        await mesh.refresh(fake.login("coinbase").token)
        assert isinstance(await mesh.refresh(fake.login("vanguard", mfa=True).token), MfaRequired)
        await bounded(mesh.refresh(evolve(fake.login("etoro").token, refresh_token="fake-unknown")))
    assert [(it.broker, it.outcome, it.requests, it.late) for it in noting.told] == [
        ("coinbase", "refreshed", 2, None),
        ("vanguard", "mfa_required", 1, None),
        ("etoro", "tokens_refused", 1, None),
    ]
    assert all(0 < it.seconds < 60 for it in noting.told)


async def test_an_error_of_the_users_is_told_as_ours(fake: FakeMesh) -> None:
    """Classes of the user's would be labels without end."""

    class Mine(TokensRefused):
        """Of a strategy."""

    noting = Noting()
    async with fake.client(observer=noting, transport=_raising(Mine())) as mesh:
        await bounded(mesh.refresh(fake.login("coinbase").token))
    assert noting.told[0].outcome == "tokens_refused"


def _raising(error: BaseException) -> Any:
    class Transport:
        async def send(self, request: Any) -> Any:
            raise error

        async def aclose(self) -> None: ...

    return Transport()


async def test_it_is_told_in_the_context_of_the_caller(fake: FakeMesh) -> None:
    """A span can be the child of the caller's own."""
    from contextvars import ContextVar

    whose: ContextVar[str] = ContextVar("whose")
    seen = list[str]()

    class Looking:
        def observe(self, told: Observation, /) -> None:
            seen.append(whose.get())

    async with fake.client(observer=Looking()) as mesh:
        whose.set("the caller's")
        await mesh.refresh(fake.login("coinbase").token)
    assert seen == ["the caller's"]


async def _never(_: object) -> None: ...


ODD: dict[str, Callable[[Any], Any]] = {
    "raises": raising(ValueError("what the error says")),
    "raises what is no error": raising(BaseException("what the error says")),
    "is a generator that ended": raising(StopIteration()),
    "gives a coroutine": _never,
}


@pytest.mark.parametrize("name", ODD)
async def test_one_that_misbehaves_does_no_harm(fake: FakeMesh, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once in a while, without what the error says, and the other one is told."""

    class Odd:
        def observe(self, told: Observation, /) -> None:
            return ODD[name](told)  # type: ignore[no-any-return]

    noting = Noting()
    async with fake.client(observer=CombinedObserver(Odd(), noting)) as mesh:
        for _ in range(3):
            await mesh.refresh(fake.login("coinbase").token)
    assert len(noting.told) == 3
    assert len([it for it in caplog.records if "an observer (Odd)" in it.getMessage()]) == 1
    assert "what the error says" not in caplog.text


class NoneOfThem:
    async def observe(self, told: Observation, /) -> None: ...


@pytest.mark.parametrize("observer", [7, NoneOfThem, NoneOfThem(), "observe"])
def test_what_is_no_observer_is_refused(fake: FakeMesh, observer: Any) -> None:
    """Before any exchange, that is."""
    with pytest.raises(InvalidRequest, match="plain function `observe`"):
        fake.client(observer=observer)
    with pytest.raises(InvalidRequest):
        CombinedObserver(observer)


@pytest.mark.once
def test_telemetry_needs_no_extra() -> None:
    """Importing it imports none of its packages."""
    program = """
import sys, mesh_refresh.telemetry as telemetry
assert not {"prometheus_client", "opentelemetry", "cryptography", "asyncpg"} & {*sys.modules}
sys.modules["prometheus_client"] = None
try:
    telemetry.PrometheusObserver()
except ValueError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install '.[prometheus]'" in ran.stdout
