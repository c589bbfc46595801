"""Compressed bodies, though nobody asked for them."""

import gzip
import json
import zlib
from collections.abc import Callable

import pytest

from mesh_refresh import BodyKind, OutcomeUnknown, UnreadableReply
from mesh_refresh.codec import BODY_LIMIT
from tests.replies.wire_replies import PAIR, decoded, read, refusal, success

BODY = json.dumps(success(PAIR)).encode()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def inflate(name: str, data: bytes) -> bytes:
    """What an inflater of the standard library has after `data`, and no more."""
    for window in (47, -15):
        try:
            return zlib.decompressobj(window).decompress(data)
        except zlib.error:
            continue
    return b""


PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    (" GZIP ", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("identity", bytes),
]
COMPRESSING = [packer for packer in PACKERS if packer[0] != "identity"]


@pytest.mark.parametrize(("name", "pack"), PACKERS)
def test_compressed_bodies_are_read(name: str, pack: Callable[[bytes], bytes]) -> None:
    """gzip and both forms of deflate are read, whatever the case of the header; the body is kept readable."""
    reply = decoded(200, pack(BODY), {"content-encoding": name})
    assert read(reply).all_tokens[0].refresh_token == PAIR["refreshToken"]
    assert reply.body == BODY


@pytest.mark.parametrize(("name", "pack"), COMPRESSING)
def test_truncated(name: str, pack: Callable[[bytes], bytes]) -> None:
    """A compressed success that breaks off inside its JSON may hide a token: its bytes are kept.

    Where it breaks off behind that, in the trailer, it is read.
    """
    packed = pack(BODY)
    whole = [end for end in range(1, len(packed)) if inflate(name, packed[:end]) == BODY]
    for complete in (True, False):
        for end in whole:
            reply = decoded(200, packed[:end], {"Content-Encoding": name}, complete=complete)
            assert read(reply).all_tokens[0].refresh_token == PAIR["refreshToken"]
        for end in set(range(1, len(packed))) - {*whole}:
            error = refusal(decoded(200, packed[:end], {"Content-Encoding": name}, complete=complete))
            assert isinstance(error, UnreadableReply)
            assert error.may_hold_token, end
            assert error.body


@pytest.mark.parametrize(("name", "pack"), COMPRESSING)
def test_a_truncated_error(name: str, pack: Callable[[bytes], bytes]) -> None:
    """Of a compressed error that breaks off, what can be inflated is searched; a token in it is kept."""
    packed = pack(BODY)
    errors = [refusal(decoded(500, packed[:end], {"Content-Encoding": name})) for end in range(1, len(packed))]
    assert all(isinstance(error, OutcomeUnknown) for error in errors)
    last = errors[-1]
    assert isinstance(last, UnreadableReply)
    assert last.may_hold_token
    assert b"refreshToken" in last.body


NAMES = ("gzip", "deflate", "br", "zstd", "gzip, br", "gzip, gzip", "nonsense")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_without_its_coding(name: str) -> None:
    """A body that is in plain JSON is read, whatever coding its header names."""
    assert read(decoded(200, BODY, {"Content-Encoding": name})).all_tokens[0].refresh_token == PAIR["refreshToken"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_without_its_coding_cut(name: str) -> None:
    """Where such a body breaks off, its bytes are kept."""
    error = refusal(decoded(200, BODY[:-5], {"Content-Encoding": name}, complete=False))
    assert isinstance(error, UnreadableReply)
    assert error.may_hold_token
    assert error.body == BODY[:-5]


def test_a_coding_without_its_name() -> None:
    """A body that came as gzip or zlib and does not say so is read."""
    for pack in (gzip.compress, zlib.compress):
        assert read(decoded(200, pack(BODY))).all_tokens[0].refresh_token == PAIR["refreshToken"]


def test_coded_twice() -> None:
    """Codings are undone in their order, the last one first."""
    for name, packed in (
        ("gzip, gzip", gzip.compress(gzip.compress(BODY))),
        ("deflate, gzip", gzip.compress(zlib.compress(BODY))),
    ):
        assert (
            read(decoded(200, packed, {"Content-Encoding": name})).all_tokens[0].refresh_token == PAIR["refreshToken"]
        )


def test_empty_is_empty() -> None:
    """An empty body is empty under any encoding."""
    for name in ("gzip", "deflate", "br"):
        error = refusal(decoded(200, b"", {"Content-Encoding": name}))
        assert isinstance(error, UnreadableReply)
        assert not error.may_hold_token


@pytest.mark.parametrize(("name", "pack"), COMPRESSING)
def test_bombs(name: str, pack: Callable[[bytes], bytes]) -> None:
    """What swells beyond the limit is not read to its end, and counts as cut short."""
    bomb = pack(b'{"refreshToken": "fake-refresh-new", "padding": "' + b"0" * (64 << 20) + b'"}')
    assert len(bomb) < BODY_LIMIT
    reply = decoded(200, bomb, {"Content-Encoding": name})
    assert reply.kind is BodyKind.CUT
    assert len(reply.body) <= BODY_LIMIT
    error = refusal(reply)
    assert isinstance(error, UnreadableReply)
    assert error.may_hold_token


def test_as_large_as_may_be() -> None:
    """A body of the limit to the byte is read, compressed or not."""
    whole = BODY + b" " * (BODY_LIMIT - len(BODY))
    assert read(decoded(200, whole)).all_tokens
    assert read(decoded(200, gzip.compress(whole), {"Content-Encoding": "gzip"})).all_tokens


def test_several_members() -> None:
    """gzip in several members, as RFC 1952 allows, is one body."""
    packed = gzip.compress(BODY[:40]) + gzip.compress(BODY[40:])
    outcome = read(decoded(200, packed, {"Content-Encoding": "gzip"}))
    assert outcome.all_tokens[0].refresh_token == PAIR["refreshToken"]
