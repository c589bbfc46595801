"""The transports behind an edge that damages what passes it."""

from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest

from mesh_refresh import AiohttpTransport, Transport
from mesh_refresh.testing import TransportConformance
from tests.exchange.shortfalls import OF_A_GIVEN_SESSION, OF_AN_UNKNOWN_VERSION
from tests.exchange.transports import BySession


class TestDirect(TransportConformance):
    """The default: nothing that comes is lost, nothing reaches the wrong one."""

    def make_transport(self) -> Transport:
        return AiohttpTransport()


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
