"""The transports behind an edge that damages what passes it."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest

from mesh_refresh import AiohttpTransport, Transport
from mesh_refresh.testing import EdgeFault, Shortfall, TransportConformance
from tests.debugging import short_stacks
from tests.transport.shortfalls import OF_A_GIVEN_SESSION, OF_AN_UNKNOWN_VERSION
from tests.transport.transports import BySession


class TestDirect(TransportConformance):
    """The default: nothing that comes is lost, nothing reaches the wrong one."""

    def make_transport(self) -> Transport:
        return AiohttpTransport()


def _eager() -> asyncio.AbstractEventLoop:
    """Tasks begin as soon as they are made."""
    if sys.version_info < (3, 12):
        pytest.skip("eager tasks are of Python 3.12")
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    return loop


def _uvloop() -> asyncio.AbstractEventLoop:
    made: asyncio.AbstractEventLoop = pytest.importorskip("uvloop").new_event_loop()
    return made


def _debugging() -> asyncio.AbstractEventLoop:
    """asyncio looks for what is done in a wrong way; pytest makes an error of what is left open."""
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    return loop


LOOPS = {"uvloop": _uvloop, "eager": _eager, "debug": _debugging}
_EVERY = 8


class Sampled(TestDirect):
    """Behind every eighth edge fault: debugging makes a loop ten times slower, and no check of it is about bytes."""

    __test__ = False
    _met = 0

    async def behind(self, fault: EdgeFault) -> frozenset[Shortfall]:
        self._met += 1
        return frozenset() if self._met % _EVERY else await super().behind(fault)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", [name for name in dir(TransportConformance) if name.startswith("test_")])
def test_the_default_on_other_loops(name: str, loop: str) -> None:
    """The same on each of them."""
    made = Sampled() if loop == "debug" else TestDirect()
    with short_stacks(), asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(getattr(made, name)())
    gc.collect()


class TestUnknownVersion(TransportConformance):
    """The way for an aiohttp that is not known: a connection for each request, aiohttp's parser."""

    deadline = timedelta(seconds=4)
    shortfalls = OF_AN_UNKNOWN_VERSION

    def make_transport(self) -> Transport:
        return BySession()


class TestGivenSession(TransportConformance):
    """A session of the caller's, with its pool."""

    deadline = timedelta(seconds=4)
    shortfalls = OF_A_GIVEN_SESSION

    @pytest.fixture(autouse=True)
    async def session_of_the_caller(self) -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as self.session:
            yield

    def make_transport(self) -> Transport:
        return AiohttpTransport(self.session)
