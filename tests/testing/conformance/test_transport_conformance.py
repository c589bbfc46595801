"""Wrong transports fail the suite that we ship. (Those that we ship pass it: tests/transport.)"""

import pytest

from mesh_refresh import MeshRefreshError
from mesh_refresh.protocols import Transport
from mesh_refresh.testing import EdgeFault, TransportConformance
from tests.testing.conformance.wrong_transports import WRONG, Wrong

pytestmark = pytest.mark.once


def test_every_sentence_has_a_wrong_transport() -> None:
    """Each test of the suite is failed by a transport of the table."""
    tests = {name for name in dir(TransportConformance) if name.startswith("test_")}
    assert tests == {wrong.check for wrong in WRONG}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.what)
async def test_a_wrong_transport_is_found_out(wrong: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the test of that sentence. The one that meets every edge fault meets a few."""
    few = {name: EdgeFault.named(name) for name in wrong.edge_faults}
    monkeypatch.setattr(EdgeFault, "all", lambda: few)

    class Suite(TransportConformance):
        def make_transport(self) -> Transport:
            return wrong.transport()

    with pytest.raises((AssertionError, MeshRefreshError)):
        await getattr(Suite(), wrong.check)()
