"""Documents: what users hand in and what this package stores.

Nothing here raises, because a frame that raises shows its locals to error trackers, and these are made of secrets: what
is wrong comes back as None, or as a sentence.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from mesh_refresh.codec.structures import many, read_entry
from mesh_refresh.codec.values import identifier, lifetime
from mesh_refresh.enums import BrokerType, known
from mesh_refresh.masking import MaskedDict
from mesh_refresh.messages import BrokerAccountTokens, LinkPayload


def loads(text: object) -> MaskedDict | None:
    """The JSON object in `text`, or None where it is not the text of one."""
    if isinstance(text, str | bytes | bytearray):
        try:
            # orjson takes no subclasses, such as text that masks itself.
            value = orjson.loads(str(text) if isinstance(text, str) else bytes(text))
        except orjson.JSONDecodeError:
            return None
        if type(value) is dict:
            return MaskedDict(value)
    return None


def dumps(value: Mapping[str, Any]) -> str:
    """`value` as JSON text."""
    return orjson.dumps(value).decode()


def read_link_payload(payload: Mapping[str, Any] | str | bytes) -> LinkPayload | str:
    """Link's ``accessTokenPayload`` or ``delayedAuth``, bare or inside the object that the SDKs hand over.

    Where it is neither, names no broker, or has no token: a sentence that says so.
    """
    found = dict(payload) if isinstance(payload, Mapping) else loads(payload)
    if found is None:
        return "This is not a Link payload: it is not a JSON object."
    for wrapper in ("payload", "accessTokenPayload", "accessToken", "delayedAuth"):
        if isinstance(found.get(wrapper), Mapping):
            found = dict(found[wrapper])
    broker = identifier(found.get("brokerType"))
    if broker is None:
        return "This is not a Link payload: brokerType is missing."
    listed = found.get("accountTokens")
    tokens = tuple(entry for entry in many(read_entry)(listed or [], None) if entry.has_token)
    alone = BrokerAccountTokens(refresh_token=identifier(found.get("refreshToken")))
    delayed = not listed and alone.has_token
    if not tokens and not delayed:
        return "The Link payload holds no token: accountTokens is missing or empty, and so is refreshToken."
    return LinkPayload(
        known(BrokerType, broker),
        (alone,) if delayed else tokens,
        lifetime(found.get("expiresInSeconds")),
        lifetime(found.get("refreshTokenExpiresInSeconds")),
        delayed,
    )
