"""What `ClientSession.post` does not do behind an edge: the difference to the direct way, by the fault's name.

aiohttp's parser raises before a byte of a body is seen, so what it refuses is gone. It ends a reply where the head says
so, and drops what comes behind that. On a session of the caller's, an idle connection is not looked at before it is
used again: what came on it is taken for the next answer.
"""

import sys
from collections.abc import Mapping

from mesh_refresh.testing import Shortfall

_GONE = frozenset((Shortfall.LOST, Shortfall.UNREAD))
_LOST = frozenset((Shortfall.LOST,))
# From 3.12 on, aiohttp writes a request and takes what is there for its answer in one step; the answer comes too late.
_EAGER = sys.version_info >= (3, 12)
_TAKEN_FOR_THE_NEXT = frozenset((Shortfall.MISPLACED, Shortfall.LOST) if _EAGER else (Shortfall.MISPLACED,))

_REFUSED_HEADS = (
    "long header of 70000 bytes", "200 headers", "1500 headers", "header without a colon", "space before the colon",
    "header without a name", "space in a header's name", "NUL in a header", "carriage return in a header",
    "byte order mark first", "lower-case version", "version HTTP/2", "version HTTP/1.9", "garbled version", "ICY",
    "two spaces before the status", "status of two digits", "status that is no number", "status line missing",
    "two different lengths", "two different lengths, the true one last", "two equal lengths", "negative length",
    "length with a plus", "length in hex", "list of lengths", "list of different lengths", "length that is no number",
    "length with a fraction", "length of 30 digits", "empty length", "length beside chunks",
    "wrong length beside chunks",
)  # fmt: skip
_REFUSED_BODIES = (
    "204 with a body", "length -1, kept alive", "length -7, kept alive", "length times 0.5, kept alive",
    "length -1, closed", "length in characters", "length 0 with a body", "chunks unannounced, with a length",
    "chunked over plain", "chunked over plain, with its length", "chunk size too small", "chunk size with 0x",
    "chunk size that is no number", "negative chunk size", "chunk size of 30 digits", "no line end after a chunk",
    "trailer without a colon", "garbage, at once",
)  # fmt: skip
_BEHIND_ANOTHER_REPLY = (
    "304 with a body", "early 200, at once", "early 408, at once", "early 503, at once", "interim 101",
    "chunk sizes too large, within the refresh token",
)  # fmt: skip
_BOTH = {
    **dict.fromkeys((*_REFUSED_HEADS, *_REFUSED_BODIES), _GONE),
    **dict.fromkeys(_BEHIND_ANOTHER_REPLY, _LOST),
    # Without the raw bytes, what the sizes say is all there is: the line end of a chunk stands inside the token.
    "chunk sizes too large, within the refresh token": _LOST,
}

OF_AN_UNKNOWN_VERSION: Mapping[str, frozenset[Shortfall]] = {
    **_BOTH,
    # With "close" announced, bytes behind a reply are an error to the parser, and the reply is gone with it.
    **dict.fromkeys(
        ("the reply 2 times, at once", "another login's reply, at once", "the reply 3 times, at once", "408, at once",
         "stranger's reply, at once", "one byte, at once"),
        _GONE,
    ),
    **dict.fromkeys(("early 200, in the next segment", "early 200, while idle"), _LOST),
}  # fmt: skip
OF_A_GIVEN_SESSION: Mapping[str, frozenset[Shortfall]] = {
    **_BOTH,
    **dict.fromkeys(
        ("the reply 2 times, in the next segment", "another login's reply, in the next segment",
         "early 200, in the next segment", "the reply 2 times, while idle", "another login's reply, while idle",
         "early 200, while idle", "the reply 3 times, while idle"),
        _TAKEN_FOR_THE_NEXT,
    ),
    **({"408, while idle": _GONE, "stranger's reply, while idle": _LOST} if _EAGER else {}),
}  # fmt: skip
