"""Looking for tokens in a body that is no plain success, because it may have the only copy of one. Pure."""

import re
from typing import Any

import orjson

from mesh_refresh.blank import is_blank, some
from mesh_refresh.codec.compression import decompressed
from mesh_refresh.codec.lenient_json import parse_json
from mesh_refresh.codec.salvage import each_reply, readings
from mesh_refresh.messages import BodyKind, Reply

_TOKEN_NAMES = {"accesstoken", "refreshtoken", "authtoken", "tokenid", "token"}
# The same names in bytes that are not JSON, with the text that follows, perhaps cut short.
_TOKEN_FIELD = re.compile(rb'(?i)"(?:access|refresh|auth)?_?token(?:_?id)?"\s*:\s*"([^"]+)')
_IN_A_REPLY = re.compile(rb'oken(?:Id)?"\s*:\s*"([^"]+)')
"""The names as Mesh writes them. Searched in every reply, so it begins with plain letters, which is quick."""
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_SMALLEST = 20
"""The least bytes of a compressed token with its frame. Fewer bytes hide none."""
_DEEPEST = 50
_SHORTEST = 12


def token_like(reply: Reply) -> tuple[frozenset[str], bool]:
    """Every value under the name of a token, anywhere in the body, and whether an unreadable part may hide more.

    The text of an error names tokens that are not in it. So outside of an error's ``content``, only a value that looks
    like a token counts.
    """
    success = 200 <= reply.http_status < 300 or not reply.http_status  # 0: its head could not be read
    if reply.kind is BodyKind.COMPRESSED:
        return frozenset(), success
    found: list[str] = []
    try:
        parsed = parse_json(reply.body, _all_of_them) if reply.kind is not BodyKind.CUT else None
    except (ValueError, RecursionError):
        parsed = None
    if parsed is None:
        return _in_bytes(reply.body, success=success)
    if success or type(parsed) is not dict:
        hidden = _collect_tokens(parsed, found, strict=success)
        return frozenset(found), hidden
    said: list[str] = []
    hidden = _collect_tokens(parsed.pop("content", None), found, strict=True)
    hidden |= _collect_tokens(parsed, said, strict=False)
    return frozenset([*found, *filter(_looks_like_one, said)]), hidden


def tokens_behind(raw: bytes) -> tuple[frozenset[str], bool]:
    """The same as `token_like`, for bytes that came behind a reply: often further replies with their heads."""
    several = [_tokens_in_one(part) for part in each_reply(raw)]
    return frozenset().union(*(tokens for tokens, _ in several)), any(hides for _, hides in several)


def brings_token(body: bytes, encoding: str, sent: bytes) -> bool:
    """Whether `body`, in the coding `encoding`, has a token that is not in `sent`, the body of its request.

    Any other success may have come in place of the answer, from a proxy that does not wait for the server.
    """
    if encoding != "identity":
        body = decompressed(encoding, body)[0] or b""
    for found in _IN_A_REPLY.finditer(body):
        token = found[1]
        if b"\\" in token:
            token = _plain(token)
        if token not in sent and not token.isspace():
            return True
    return False


def _plain(token: bytes) -> bytes:
    """`token` as this package writes it: other programs escape more characters."""
    try:
        return orjson.dumps(orjson.loads(b'"%b"' % token))[1:-1]
    except orjson.JSONDecodeError:
        return token


def _in_bytes(body: bytes, *, success: bool) -> tuple[frozenset[str], bool]:
    """The same as `token_like`, for a body that is no JSON. A reply that begins inside of it counts as a success."""
    own, *others = [*each_reply(body)] or [b""]
    texts = [*readings(b"", own)]
    named = frozenset(token for text in texts for token in _named_in(text))
    behind = [_tokens_in_one(other) for other in others]
    hidden = (success and not all(map(_is_prose, texts))) or any(hides for _, hides in behind)
    return named.union(*(tokens for tokens, _ in behind)), hidden


def _tokens_in_one(raw: bytes) -> tuple[frozenset[str], bool]:
    found: set[str] = set()
    hidden = False
    for body in readings(raw):
        tokens, hides = token_like(Reply(200, BodyKind.OTHER_JSON, body=body))
        found |= tokens
        hidden = hidden or hides
        if not hides and tokens:
            return frozenset(found), False  # read to its end
    return frozenset(found), hidden


def _all_of_them(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, with all values of repeated keys under "twice": a parser keeps only the last of them."""
    value = dict(pairs)
    if len(value) != len(pairs):
        value["twice"] = [{key: item} for key, item in pairs]
    return value


def _looks_like_one(text: str) -> bool:
    return len(text) >= _SHORTEST and not any(map(str.isspace, text))


def _is_prose(body: bytes) -> bool:
    """Whether a body is empty, text or HTML, and neither the beginning of JSON nor compressed."""
    start = body.lstrip()[:1]
    if not start or start in b"{[":
        return not start
    return len(body) < _SMALLEST or (0x20 < start[0] < 0x7F and _BINARY.search(body) is None)


def _named_in(text: bytes) -> list[str]:
    named = (match.decode(errors="replace") for match in _TOKEN_FIELD.findall(text))
    return [token for token in named if not is_blank(token)]


def _collect_tokens(value: Any, found: list[str], *, strict: bool, depth: int = 0) -> bool:
    """Add every value under the name of a token to `found`. Gives whether a part may hide further ones."""
    if depth > _DEEPEST:
        return True
    if type(value) is str:
        found += _named_in(value.encode(errors="replace"))  # JSON inside of JSON
        return False
    if type(value) is list:
        return any([_collect_tokens(item, found, strict=strict, depth=depth + 1) for item in value])  # each of them
    if type(value) is not dict:
        return False
    hidden = False
    for key, item in value.items():
        named = bool(some(item) if type(item) is str else item) and key.replace("_", "").lower() in _TOKEN_NAMES
        if named and type(item) in (dict, list):
            hidden |= strict  # a token in a form of its own, or what an error says of one
            found += [text for text in item if type(text) is str and not is_blank(text)]
        elif named and type(item) is not bool:
            found.append(str(item))
        if not named or type(item) in (dict, list):
            hidden |= _collect_tokens(item, found, strict=strict, depth=depth + 1)
    return hidden
