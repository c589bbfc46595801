"""Which envelope in a damaged reply is the answer: the reply's own one, and no other."""

import gzip
import zlib
from datetime import UTC, datetime

import pytest

from mesh_refresh.codec import decode_reply, salvage, token_like, tokens_behind
from mesh_refresh.messages import BodyKind, HttpReply, Reply

NOW = datetime(2030, 1, 1, tzinfo=UTC)
BODY = b'{"status":"ok","content":{"status":"succeeded","accessToken":"fake-access","refreshToken":"fake-refresh"}}'
OTHER = BODY.replace(b"fake-", b"other-")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def damaged(raw: bytes, status: int = 0) -> Reply:
    return decode_reply(HttpReply(status, {}, b"", complete=False, raw=raw, fault="its framing is wrong"), at=NOW)


def token_of(reply: Reply) -> str | None:
    return reply.content.refresh_token if reply.content is not None else None


CODED = {
    "plain": BODY,
    "gzip": gzip.compress(BODY, mtime=0),
    "zlib": zlib.compress(BODY),
    "raw deflate": zlib.compress(BODY)[2:-4],
}


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("before", [b"", b"\r\n", INTERIM])
@pytest.mark.parametrize("line", [b"", b"0x6e\r\n", b"-6e\r\n", b"6e \r\n", b"6e;a=b\r\n"])
def test_the_envelope_is_found_behind_heads_and_lines(before: bytes, line: bytes, coding: str) -> None:
    """In each coding, though no header names it."""
    reply = damaged(before + HEAD + line + CODED[coding])
    assert (reply.http_status, token_of(reply)) == (200, "fake-refresh")


def test_gzip_twice() -> None:
    """As proxies in a row make it."""
    assert token_of(damaged(HEAD + gzip.compress(gzip.compress(BODY)))) == "fake-refresh"


@pytest.mark.parametrize("own", [b"", BODY[:-9], BODY.replace(b"fake-refresh", b"fake-\r\nrefresh")])
def test_an_envelope_in_another_reply_is_not_the_answer(own: bytes) -> None:
    """It may be somebody else's; the bytes are kept."""
    reply = damaged(HEAD + own + HEAD + OTHER, 200)
    assert (reply.content, reply.kind) == (None, BodyKind.CUT)
    assert OTHER in reply.body


@pytest.mark.parametrize("own", [b"", b"no JSON", HEAD])
def test_what_comes_behind_a_reply_is_not_the_answer(own: bytes) -> None:
    """Where that says something odd, or nothing."""
    raw = HEAD + own + HEAD + OTHER
    assert decode_reply(HttpReply(200, {}, own, raw=raw, surplus=HEAD + OTHER), at=NOW).content is None


def test_what_comes_behind_an_early_empty_object_is_the_answer() -> None:
    """A reply of the edge's own, and then Mesh's."""
    raw = HEAD + b"{}" + HEAD + BODY
    assert token_of(decode_reply(HttpReply(200, {}, b"{}", raw=raw, surplus=HEAD + BODY), at=NOW)) == "fake-refresh"


def test_the_own_envelope_is_the_answer_whatever_comes_behind_it() -> None:
    """Also where its coding is not what its head says."""
    reply = HttpReply(200, {"Content-Encoding": "odd"}, BODY, raw=HEAD + BODY + HEAD + OTHER, surplus=HEAD + OTHER)
    assert token_of(decode_reply(reply, at=NOW)) == "fake-refresh"


def test_a_whole_reply_may_quote_another_one() -> None:
    """A message that has the first line of a reply in it."""
    body = BODY[:-1] + b',"message":"HTTP/1.1 502 Bad Gateway"}'
    assert token_of(decode_reply(HttpReply(200, {}, body), at=NOW)) == "fake-refresh"


HIDING = {
    "zlib without its begin": b"0x6e\r\n" + zlib.compress(BODY)[9:],
    "gzip behind a letter": b"A" + gzip.compress(BODY, mtime=0),
    "chunks": b"9\r\n" + BODY[:9] + b"\r\n4\r\n" + BODY[9:30],
}


@pytest.mark.parametrize("what", HIDING)
@pytest.mark.parametrize("status", [0, 200])
def test_what_may_hide_a_token_is_no_prose(status: int, what: str) -> None:
    """However it begins, and though nobody knows how the reply was meant."""
    assert token_like(Reply(status, BodyKind.CUT, body=HIDING[what]))[1]


@pytest.mark.parametrize("body", [b"", b"<html>\r\n<b>Busy</b>\t\r\n\r\n</html>", "Zürich".encode("latin-1")])
def test_prose_hides_nothing(body: bytes) -> None:
    """A page of a proxy's parks nobody."""
    assert token_like(Reply(200, BodyKind.TEXT, body=body)) == (frozenset(), False)


def test_several_replies_behind_one() -> None:
    """Each is read by itself, so that what they repeat is known to be nothing new."""
    assert tokens_behind(HEAD + BODY + HEAD + BODY) == (frozenset({"fake-access", "fake-refresh"}), False)


ODD = {"garbage": (b"\x16\x03\x01\0garbage", False), "without its begin": (zlib.compress(BODY)[4:], True)}


@pytest.mark.parametrize("what", ODD)
def test_a_few_odd_bytes_hide_nothing(what: str) -> None:
    """Nobody is parked for bytes that are too few for a token; what is compressed may have one."""
    behind, hides = ODD[what]
    assert tokens_behind(behind)[1] is hides


def test_bytes_that_are_dear_to_read_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for an envelope ends after some effort, which a hundred open braces would multiply by their number; then
    none is taken, since another one may follow, and the bytes are kept.
    """
    monkeypatch.setattr(salvage, "_MOST_EFFORT", 20_000)
    numbers = b'{"a":' * 9 + b"[" + b"1," * 1_000
    assert token_of(damaged(HEAD + numbers + BODY)) == "fake-refresh", "that is cheap"
    for dear in (numbers * 2, b'{"a":1}' * 500, b'{"a":' * 5_000):
        for raw in (dear + BODY, BODY + dear + OTHER, BODY + dear):
            reply = damaged(HEAD + raw)
            assert (reply.content, reply.kind) == (None, BodyKind.CUT)
            assert token_like(reply)[1]
