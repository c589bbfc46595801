"""A sample of what ``nox -s edges`` runs in full, there drawn anew each time; and what that has found."""

from random import Random

import pytest

from mesh_refresh.testing import EdgeFault
from tests.transport.edges_at_scale import at_byte, bytes_of, case_named, drawn, size_behind
from tests.transport.planted_transport_bugs import BUGS
from tests.transport.refreshes_behind_edges import LOGINS, Case, go_behind

# A login that fails never comes to its fault.
pytestmark = pytest.mark.filterwarnings("ignore::mesh_refresh.testing.UnusedFault")

FOUND = (
    # A code of 199, or of a reply that came behind, was taken for the one that could not be read.
    "interim 199 + space before the colon",
    "interim 100, 100, 103 + list of lengths / top level",
    "garbled version + 408, at once",
    "status that is no number + 408, while idle / chunked",
    # A compressed body begins with any byte, also with one that prose begins with: no token was looked for.
    "negative chunk size + coding gzip over gzip / a pair each",
    "chunk size that is no number + coding gzip over gzip bad sum",
    "garbled version + coding deflate over raw deflate / top level",
    "lower-case version + coding gzip twice, named once / three accounts",
    "interim 101 + coding gzip named twice / a pair each",
    "two spaces before the status + negative chunk size + coding unnamed over gzip / a code",
    "transfer coding chunked, identity + coding gzip over gzip",
    "cut at -1 + chunks unannounced + coding gzip in odd case / own id",
    # The names of the tokens' fields were broken by the lines between chunks.
    "interim 103 + chunk sizes with spaces / chunked",
    # The reply behind an early one was cut in two, and each half handed over by itself.
    "early 200, at once + split at 430",
    "early 503, at once + split at 433 / top level",
    # Behind an error in the same bytes, no token was looked for.
    "early 408, at once + interim 101 + chunk sizes with zeros",
    # A reply to another login was all that closes, and was taken for the answer.
    "chunks of one byte + no body + another login's reply, at once",
    "another login's reply, in the next segment + chunk sizes too large, within the refresh token / chunked",
    "no body + another login's reply, at once",
    # The code of a reply behind one that is refused as too large was taken for its own.
    "1500 headers + 408, at once + transfer coding identity, chunked / a code",
    "another login's reply, at once + chunk size with 0x + chunk extensions / own id",
)


@pytest.mark.parametrize("name", FOUND)
async def test_what_was_found_is_mended(name: str) -> None:
    """Three times in a row, on the same connections where they are used again."""
    found = await go_behind([case_named(name)] * 3, lanes=1)
    assert not found.wrong


@pytest.mark.parametrize("login", LOGINS)
async def test_every_login_behind_every_fault(login: str) -> None:
    """Each comes whole through each fault, or its bytes are kept; nobody gets a token of somebody else's."""
    faults = Random(login).sample(list(EdgeFault.all().values()), 60)
    found = await go_behind([Case(fault, login) for fault in faults], lanes=60)
    assert not found.wrong


@pytest.mark.parametrize("how", ["split", "cut", "reset"])
async def test_some_faults_at_some_bytes(how: str) -> None:
    """A reply behind a fault that is split or cut at any byte: whole, or kept, or not even come."""
    chance, cases = Random(how), []
    for fault in chance.sample(list(EdgeFault.all().values()), 10):
        places = bytes_of(await size_behind(fault), chance, every=1)
        some = chance.sample(places, min(8, len(places)))
        cases += [Case(fault | at_byte(how, place), chance.choice(list(LOGINS))) for place in some]
    found = await go_behind(cases, lanes=40)
    assert not found.wrong


async def test_some_faults_together() -> None:
    """Pairs and threes of faults."""
    found = await go_behind(drawn(Random(150), 150), lanes=50)
    assert not found.wrong


# Each with faults behind which it shows, and what must be said of it.
PLANTED = {
    "what the parser refuses is dropped": ("space before the colon", "and no success"),
    "a connection that has spoken is used": ("another login's reply, while idle", "has a token of"),
    "what comes late is dropped": ("early 200, while idle", "nobody has the tokens"),
}


@pytest.mark.parametrize("bug", BUGS)
async def test_a_planted_bug_is_found(bug: str) -> None:
    """A few logins after one another are enough."""
    name, sign = PLANTED[bug]
    with BUGS[bug]():
        found = await go_behind([case_named(name)] * 3, lanes=1)
    assert any(sign in what for what in found.wrong)
