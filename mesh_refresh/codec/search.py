"""Looking for tokens in a body that is no plain success: they may be the only copy."""

import re
from typing import Any

from mesh_refresh.codec.replies import parsed_json
from mesh_refresh.messages import BodyKind, Reply

_TOKEN_NAMES = {"accesstoken", "refreshtoken", "authtoken", "tokenid", "token"}
# The same names in bytes that are not JSON, with the text that follows, perhaps cut short.
_TOKEN_FIELD = re.compile(rb'(?i)"(?:access|refresh|auth)?_?token(?:_?id)?"\s*:\s*"([^"]+)')
_DEEPEST = 50


def token_like(reply: Reply) -> tuple[frozenset[str], bool]:
    """What stands under a token's name anywhere in the body, and whether a part that cannot be read may hide more."""
    success = 200 <= reply.http_status < 300
    found: list[str] = []
    if reply.kind is not BodyKind.CUT:
        parsed, readable = parsed_json(reply.body)
        if readable:
            hidden = _collect_tokens(parsed, found)
            return frozenset(found), hidden
    found = [match.decode(errors="replace") for match in _TOKEN_FIELD.findall(reply.body)]
    return frozenset(found), success and not _is_prose(reply.body)


def _is_prose(body: bytes) -> bool:
    """Whether a body is nothing, text or HTML: not the beginning of JSON, and not compressed."""
    start = body.lstrip()[:1]
    return not start or (start not in b"{[" and 0x20 < start[0] < 0x7F)


def _collect_tokens(value: Any, found: list[str], depth: int = 0) -> bool:
    """Adds everything that stands under a token's name to `found`; True where it was too deep to look everywhere."""
    if depth > _DEEPEST:
        return True
    if type(value) is list:
        deeper = [_collect_tokens(item, found, depth + 1) for item in value if type(item) in (dict, list)]
        return any(deeper)
    if type(value) is not dict:
        return False
    hidden = False
    for key, item in value.items():
        if type(item) in (dict, list):
            hidden |= _collect_tokens(item, found, depth + 1)
        elif item and key.replace("_", "").lower() in _TOKEN_NAMES and type(item) is not bool:
            found.append(str(item))
    return hidden
