"""Bytes to messages and back. Pure.

Reading is lenient, so that no error in a reply costs its token: a field of a wrong type that carries no token reads as
absent, unknown fields are ignored, and unknown enum values stay strings.
"""

from mesh_refresh.codec.compression import BODY_LIMIT
from mesh_refresh.codec.documents import dumps, loads, read_document, read_mapping, repeated
from mesh_refresh.codec.link import is_link_payload, read_link_payload, unread_keys
from mesh_refresh.codec.plain import Wrong, json_of, text_of, whole_of
from mesh_refresh.codec.replies import decode_reply
from mesh_refresh.codec.retry_after import LONGEST_RETRY_AFTER
from mesh_refresh.codec.salvage import holds_envelope, status_in
from mesh_refresh.codec.search import brings_token, token_like, tokens_behind
from mesh_refresh.codec.structures import encode_request, read_value, write_value

__all__ = [
    "BODY_LIMIT",
    "LONGEST_RETRY_AFTER",
    "Wrong",
    "brings_token",
    "decode_reply",
    "dumps",
    "encode_request",
    "holds_envelope",
    "is_link_payload",
    "json_of",
    "loads",
    "read_document",
    "read_link_payload",
    "read_mapping",
    "read_value",
    "repeated",
    "status_in",
    "text_of",
    "token_like",
    "tokens_behind",
    "unread_keys",
    "whole_of",
    "write_value",
]
