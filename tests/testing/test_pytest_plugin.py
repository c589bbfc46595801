"""Tests of users, in a pytest of their own: none waits for the fault of another one, nor long for a gate."""

import os
import sys
import time

import pytest

pytest_plugins = "pytester"
pytestmark = pytest.mark.once

_INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = session
asyncio_default_test_loop_scope = session
"""
_CONFTEST = """
import random

import pytest

pytest_plugins = ["mesh_refresh.testing.pytest_plugin"]


def pytest_addoption(parser):
    parser.addoption("--shuffle", type=int)


def pytest_collection_modifyitems(items, config):
    if config.getoption("shuffle") is not None:
        random.Random(config.getoption("shuffle")).shuffle(items)
"""
_FAILING = """
import asyncio

from mesh_refresh import MeshClient
from mesh_refresh.keeper import Keeper
from mesh_refresh.stores import MemoryStore
from mesh_refresh.testing import FakeMesh


async def test_with_a_client_of_the_fake(fake_mesh):
    async with fake_mesh.client() as mesh:
        gate = fake_mesh.hold()
        asking = asyncio.create_task(mesh.refresh(fake_mesh.login("coinbase").token))
        await gate.entered.wait()
        assert asking.done(), "fails before it opens the gate"
        gate.release()


async def test_with_its_own_client_and_fake():
    async with FakeMesh() as fake:
        async with MeshClient(fake.client_id, fake.client_secret, base_url=fake.base_url) as mesh:
            gate = fake.hold(after_rotation=True)
            asking = asyncio.create_task(mesh.refresh(fake.login("coinbase").token))
            await gate.entered.wait()
            assert asking.done(), "fails before it opens the gate"


async def test_with_a_keeper(fake_mesh):
    async with fake_mesh.client() as mesh, Keeper(mesh, MemoryStore(), background=False) as keeper:
        login = fake_mesh.login("coinbase")
        await keeper.add("a", login.tokens)
        gate = fake_mesh.hold()
        asking = asyncio.create_task(keeper.refresh("a"))
        await gate.entered.wait()
        assert asking.done(), "fails before it opens the gate"
"""
_SHARING = """
import asyncio

import pytest
import pytest_asyncio

from mesh_refresh import Refreshed
from mesh_refresh.testing import FakeMesh, Fault


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared():
    async with FakeMesh() as fake:
        yield fake


@pytest.mark.parametrize("number", range(8))
async def test_that_leaves_something_behind(shared, number):
    async with shared.client() as mesh:
        login = shared.login("coinbase")
        shared.fail(Fault.refuse(), times=None if number % 2 else 2)
        with pytest.raises(Exception):
            await mesh.refresh(login.token)
        shared.hold(times=None)
        if number == 3:
            raise ValueError("a test that fails")


@pytest.mark.parametrize("number", range(8))
async def test_that_expects_nothing_odd(shared, number):
    async with shared.client() as mesh:
        assert isinstance(await mesh.refresh(shared.login("coinbase").token), Refreshed)
"""


@pytest.fixture(autouse=True)
def the_same_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the inner pytest imports what this one does."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def _ran(pytester: pytest.Pytester, source: str, *options: str, ini: str = _INI) -> tuple[pytest.RunResult, float]:
    pytester.makefile(".ini", pytest=ini)
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile(source)
    begun = time.monotonic()
    plugins = ("-p", "no:cacheprovider", "-p", "no:schemathesis", "-p", "no:hypothesispytest")
    return pytester.runpytest_subprocess("-q", *plugins, *options, timeout=100), time.monotonic() - begun


def test_tests_that_fail_before_they_open_a_gate(pytester: pytest.Pytester) -> None:
    """Each ends two seconds later: not at the deadline of the client, which is a minute."""
    result, seconds = _ran(pytester, _FAILING)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["*fails before it opens the gate*"])
    assert seconds < 60


@pytest.mark.parametrize("options", [("--shuffle", "1"), ("-n", "2", "--shuffle", "2")])
def test_tests_that_share_a_fake_share_no_fault(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    """One fake for the session, in any order and in two processes: a fault ends with the test that asked for it."""
    result, seconds = _ran(pytester, _SHARING, *options)
    result.assert_outcomes(passed=15, failed=1, warnings=7)
    result.stdout.fnmatch_lines(["*UnusedFault: The fault 'hold' met no request.*"])
    assert seconds < 60


def test_a_fixture_in_another_loop_than_its_test(pytester: pytest.Pytester) -> None:
    """It fails at once, and says why."""
    source = """
async def test_it(shared):
    async with shared.client() as mesh:
        await mesh.refresh(shared.login("coinbase").token)
"""
    fixture = _SHARING[: _SHARING.index("@pytest.mark")]
    ini = _INI.replace("test_loop_scope = session", "test_loop_scope = function")
    result, seconds = _ran(pytester, fixture + source, ini=ini)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*started in another event loop*"])
    assert seconds < 60


def test_a_fault_that_met_no_request(pytester: pytest.Pytester) -> None:
    """Where warnings are errors, the test that asked for it fails."""
    source = """
from mesh_refresh.testing import Fault


async def test_it(fake_mesh):
    fake_mesh.fail(Fault.cut())
"""
    result, _ = _ran(pytester, source, "-W", "error")
    result.assert_outcomes(failed=1)
