"""Reach: how much of a reply gets past an edge fault, for a client and for the ledger. Pure."""

import json
from collections.abc import Collection
from enum import Enum

from mesh_refresh.testing.model.salvage import texts


class Reach(Enum):
    """What a correct client can make of the new tokens behind an edge."""

    UNTOUCHED = "no new token: Mesh has not seen the request, or has refused it"
    WHOLE = "a whole envelope, in the reply to its request: the outcome must be `Refreshed` or `MfaRequired`"
    BYTES = "the bytes, whole, but not in one plain envelope: the hook must have them, as a success or unreadable"
    LATE = "they come behind another complete reply, on a connection still open: the hook must have them as bytes"
    GAP = "they come after the next request was written: without ids, no client can tell them from its answer"
    CLOSED = (
        "they come later than another reply, after which a client may have closed the connection: then they are lost"
    )
    GONE = "they are never on the wire whole: no client can have them"

    @property
    def severity(self) -> int:
        """The place in the list above."""
        return list(Reach).index(self)


def worst(*reaches: Reach) -> Reach:
    """The one that leaves least to the client."""
    return max(reaches, key=lambda reach: reach.severity)


def measured(at_best: Reach, new: Collection[str], written: bytes) -> Reach:
    """What `written` leaves of a reply that had the tokens `new`, under a fault that leaves `at_best`."""
    if not new:
        return Reach.UNTOUCHED
    wanted = [value.encode() for value in new]
    found = list(texts(written))
    if not all(any(value in text for text in found) for value in wanted):
        return Reach.GONE
    if not any(has_envelope(text, wanted) for text in found):
        return worst(at_best, Reach.BYTES)
    return at_best


def has_envelope(text: bytes, wanted: Collection[bytes]) -> bool:
    """Whether an envelope of Mesh's that closes stands in `text`, with all that is `wanted` in it."""
    decoder, shown = json.JSONDecoder(), text.decode("utf-8", "replace")
    begin = shown.find("{")
    while begin >= 0:
        try:
            value, end = decoder.raw_decode(shown, begin)
        except (ValueError, RecursionError):
            begin = shown.find("{", begin + 1)
            continue
        if "content" in value and all(it.decode() in shown[begin:end] for it in wanted):
            return True
        begin = shown.find("{", end)
    return False
