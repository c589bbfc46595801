"""Bytes to messages and back, lenient where leniency keeps a token.

A part that does not carry tokens is never worth one: a wrong type there reads as absent. Unknown fields are ignored,
unknown enum values stay strings.
"""

from mesh_refresh.codec.compression import BODY_LIMIT
from mesh_refresh.codec.documents import dumps, loads, read_link_payload
from mesh_refresh.codec.replies import decode_reply
from mesh_refresh.codec.retry_after import LONGEST_RETRY_AFTER
from mesh_refresh.codec.salvage import holds_envelope, status_in
from mesh_refresh.codec.search import token_like, tokens_behind
from mesh_refresh.codec.structures import encode_request

__all__ = [
    "BODY_LIMIT",
    "LONGEST_RETRY_AFTER",
    "decode_reply",
    "dumps",
    "encode_request",
    "holds_envelope",
    "loads",
    "read_link_payload",
    "status_in",
    "token_like",
    "tokens_behind",
]
