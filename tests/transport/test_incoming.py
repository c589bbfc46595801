"""One reply while it comes in: when it is all there, what is kept of it, and whether its connection is used again."""

import gzip
import json
from typing import Any

import pytest

from mesh_refresh import BODY_LIMIT, Refreshed, UnreadableReply, codec
from mesh_refresh.transport.incoming import (
    HEAD_LIMIT,
    HEADER_LIMIT,
    HEADERS_LIMIT,
    LONG_QUIET,
    QUIET,
    RAW_LIMIT,
    Incoming,
)
from tests.replies.wire_replies import AT, PAIR, read, refusal, success

BODY = json.dumps(success(PAIR)).encode()
END = b"\r\n\r\n"


def reply(body: bytes = BODY, *lines: str, start: str = "HTTP/1.1 200 OK", length: int | None = None) -> bytes:
    """A reply as it goes over the wire."""
    said = f"Content-Length: {len(body) if length is None else length}"
    return "\r\n".join((start, *lines, said)).encode() + END + body


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked" + END + chunks + end


def fed(*segments: bytes) -> Incoming:
    incoming = Incoming()
    for segment in segments:
        incoming.feed(segment)
    return incoming


def outcome(incoming: Incoming, ended: str | None = None) -> Any:
    """What comes of it: read, or the error."""
    decoded = codec.decode_reply(incoming.reply(ended), at=AT)
    try:
        return read(decoded)
    except Exception:  # noqa: BLE001 - then it is an error of ours, which `refusal` asserts
        return refusal(decoded)


WHOLE = {
    "a length": reply(),
    "chunks": chunked(BODY),
    "two chunks": chunked(BODY[:100], BODY[100:]),
    "a line behind the JSON": reply(BODY + b"\r\n"),
    "gzip": reply(gzip.compress(BODY), "Content-Encoding: gzip"),
    "an interim reply": b"HTTP/1.1 103 Early Hints\r\nLink: </x>" + END + reply(),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_success(name: str) -> None:
    """It is there with its last byte, in whatever segments; it is read, and the connection is used again."""
    raw = WHOLE[name]
    for cut in range(1, len(raw)):
        first = fed(raw[:cut])
        assert first.next_wait(0.0) != 0.0, "that is not all"
        incoming = fed(raw[:cut], raw[cut:])
        assert incoming.next_wait(0.0) == 0.0
        assert incoming.reusable
        assert (incoming.reply().raw, incoming.reply().surplus, incoming.fault) == (b"", b"", None)
        assert isinstance(outcome(incoming), Refreshed)


@pytest.mark.parametrize(
    "raw",
    [
        reply(start="HTTP/1.1 500 No"),
        reply(start="HTTP/1.1 400 No"),
        reply(start="HTTP/1.1 307 Elsewhere"),
        reply(b'{"status":"ok"}'),
        reply(b"{}"),
        reply(b""),
        reply(BODY, "Connection: close"),
        reply(start="HTTP/1.0 200 OK"),
        reply() + b"\r\n",
        reply() + b"x",
        reply() + reply(),
        chunked(BODY) + b"\r\n",
        chunked(BODY) + chunked(BODY),
        chunked(BODY, end=b"0\r\nX-Sum: 7\r\n\r\n") + b"x",
    ],
)
def test_used_again_only_after_a_plain_success(raw: bytes) -> None:
    """No connection is used again after an error, without a token, with anything behind it, or where it says so."""
    assert not fed(raw).reusable
    assert not fed(raw[:30], raw[30:]).reusable


NO_ANSWER = {
    "a message about tokens": b'{"status":"ok","message":"Token refresh accepted"}',
    "no entry": b'{"status":"ok","content":{"brokerAccountTokens":[]}}',
    "null": b'{"status":"ok","content":{"accessToken":null}}',
    "blank": b'{"status":"ok","content":{"accessToken":" ","tokenId":""}}',
    "failed": b'{"status":"ok","content":{"status":"failed","errorMessage":"the refreshToken is bad"}}',
    "a question": b'{"status":"ok","content":{"status":"mfaRequired","brokerAccountTokens":[]}}',
    "an echo": b'{"status":"ok","content":{"refreshToken":"fake+sent"}}',
    "an echo that is escaped": rb'{"status":"ok","content":{"refreshToken":"fake\u002Bsent"}}',
    "HTML": b"<html>oken</html>",
}


@pytest.mark.parametrize("coding", ["", "identity", "gzip", "br"])
@pytest.mark.parametrize("name", NO_ANSWER)
def test_not_used_again_without_a_new_token(name: str, coding: str) -> None:
    """An edge may answer early with anything at all, in any coding: only a token that was not sent is an answer."""
    lines = [f"Content-Encoding: {coding}"] if coding else []
    for body, is_answer in ((NO_ANSWER[name], False), (BODY, True)):
        incoming = Incoming(b'{"refreshToken":"fake+sent"}')
        incoming.feed(reply(gzip.compress(body) if coding == "gzip" else body, *lines))
        assert incoming.reusable == (is_answer and coding != "br")


def test_not_used_again_behind_a_code_below_a_hundred() -> None:
    """A reply with such a code is no interim one, which another one follows; and its bytes are kept."""
    for code in ("000", "099", "0"):
        raw = reply(start=f"HTTP/1.1 {code} Odd")
        for incoming in (fed(raw), fed(raw[:9], raw[9:])):
            assert not incoming.reusable
            assert PAIR["refreshToken"].encode() in incoming.reply().raw
            assert isinstance(outcome(incoming), Refreshed)


def test_used_again_behind_bytes_of_a_later_segment() -> None:
    """What comes behind the end, before anybody has taken the reply, spoils the connection as well."""
    incoming = fed(reply(), b"HTTP/1.1 408 Late" + END)
    assert not incoming.reusable
    assert incoming.reply().surplus == b"HTTP/1.1 408 Late"


@pytest.mark.parametrize("second", [reply(), chunked(BODY), b"\x16\x03\x01", b"x", b"408"])
@pytest.mark.parametrize("first", [reply(), chunked(BODY), chunked(BODY[:9], BODY[9:])])
def test_what_is_behind_the_reply(first: bytes, second: bytes) -> None:
    """The surplus is found to the byte, in one segment and in two, and the reply is read."""
    for incoming in (fed(first + second), fed(first, second), fed(first[:40], first[40:] + second)):
        assert incoming.reply().surplus == second.strip()
        assert incoming.reply().raw == first + second
        assert isinstance(outcome(incoming), Refreshed)


def test_blank_bytes_are_no_surplus() -> None:
    """Line breaks behind a reply, as old servers send them, are nothing to keep."""
    assert fed(reply() + b"\r\n\r\n").reply().surplus == b""


@pytest.mark.parametrize("short", [1, 7, 100])
def test_a_length_that_is_too_small(short: int) -> None:
    """A success that ends inside its JSON waits for the rest, and is read where that comes."""
    raw = reply(length=len(BODY) - short)
    for incoming in (fed(raw), fed(raw[:-short], raw[-short:])):
        assert isinstance(outcome(incoming), Refreshed)
    cut = fed(raw[:-short])
    assert cut.next_wait(0.0) == QUIET
    assert cut.next_wait(QUIET) == 0.0, "then what there is, is the reply"
    assert outcome(cut).may_hold_token


def test_an_error_does_not_wait() -> None:
    """Only a success has tokens to wait for."""
    for raw in (reply(b"<html>", start="HTTP/1.1 502 No"), reply(b"", start="HTTP/1.1 404 No")):
        assert fed(raw).next_wait(0.0) == 0.0


ENDLESS = {
    "a length too large": reply(length=len(BODY) + 500),
    "a last chunk missing": chunked(BODY, end=b""),
    "half a last chunk": chunked(BODY, end=b"0\r\n"),
    "no length": b"HTTP/1.1 200 OK" + END + BODY,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_whole_envelope_without_an_end(name: str) -> None:
    """Where the framing never ends, an envelope that is whole is taken after a silence, and by the deadline."""
    incoming = fed(ENDLESS[name])
    assert incoming.next_wait(0.0) == QUIET
    assert incoming.next_wait(QUIET) == 0.0
    assert not incoming.reusable
    assert isinstance(outcome(incoming), Refreshed)
    assert isinstance(outcome(incoming, "the deadline passed"), Refreshed)


def test_an_envelope_that_is_not_whole_is_waited_for() -> None:
    """Silence in the middle of a reply is no end of it: only the connection's end, or the deadline, is."""
    cut = fed(reply()[:-40])
    assert cut.next_wait(0.0) is None
    closing = BODY.index(b"}") + 1
    inside = fed(reply()[: len(reply()) - len(BODY) + closing])
    assert inside.next_wait(0.0) == QUIET
    assert inside.next_wait(QUIET) is None
    error = outcome(cut, "the deadline passed")
    assert isinstance(error, UnreadableReply)
    assert error.may_hold_token
    assert "the deadline passed" in str(error)


BROKEN = {
    "a header too long": reply(BODY, "X: " + "x" * HEADER_LIMIT),
    "headers too many": reply(BODY, *(f"X-{number}: 1" for number in range(HEADERS_LIMIT + 1))),
    "headers too large": reply(BODY, *(f"X-{number}: {'x' * 60_000}" for number in range(20))),
    "two lengths": reply(BODY, "Content-Length: 7"),
    "a length beside chunks": chunked(BODY).replace(b"Transfer", b"Content-Length: 7\r\nTransfer"),
    "no colon": reply(BODY, "no colon"),
    "bare line feeds": reply().replace(b"\r\n", b"\n"),
    "no status line": BODY,
    "no head": b"\r\n" + BODY,
    "a chunk size that is none": chunked(BODY).replace(b"%x\r\n" % len(BODY), b"zz\r\n"),
    "a chunk size too small": chunked(BODY).replace(b"%x\r\n" % len(BODY), b"7\r\n"),
    "a switch of protocols": b"HTTP/1.1 101 No\r\nUpgrade: x\r\nConnection: upgrade" + END + reply(),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_the_parser_refuses(name: str) -> None:
    """The bytes are handed up with a word on what was wrong; a whole envelope in them is read."""
    raw = BROKEN[name]
    for incoming in (fed(raw), fed(*(raw[at : at + 65_536] for at in range(0, len(raw), 65_536)))):
        assert incoming.fault
        assert PAIR["refreshToken"] not in incoming.fault
        assert incoming.next_wait(0.0) == QUIET
        assert incoming.next_wait(QUIET) == 0.0
        assert not incoming.reusable
        came = outcome(incoming)
        assert isinstance(came, Refreshed)
        assert PAIR["refreshToken"].encode() in incoming.reply().raw
    half = fed(raw[:-40])
    if half.fault is not None:
        assert half.next_wait(QUIET) == LONG_QUIET - QUIET
        assert half.next_wait(LONG_QUIET) == 0.0
        assert outcome(half).may_hold_token
        assert half.fault in str(outcome(half))


def test_a_chunk_line_within_a_token() -> None:
    """A token that a chunk line splits, in its name too, is not taken for text without one."""
    at = BODY.index(b"reshToken")
    for raw in (
        chunked(BODY[:at], BODY[at:]),
        chunked(BODY[:at], BODY[at:]).replace(b"\r\n\r\n", b"\r\nno colon\r\n\r\n", 1),
    ):
        error = outcome(fed(raw[:-60]), "the deadline passed")
        assert isinstance(error, UnreadableReply)
        assert error.may_hold_token


def test_the_limits() -> None:
    """A body of the limit is read; more of it, or more than that without an end to its head, is not read on."""
    most = BODY + b" " * (BODY_LIMIT - len(BODY))
    assert isinstance(outcome(fed(reply(most))), Refreshed)
    for raw in (reply(most + b" "), b"x" * (RAW_LIMIT + 1)):
        incoming = fed(raw)
        assert incoming.next_wait(0.0) == 0.0
        assert not incoming.reply().complete
        error = outcome(incoming)
        assert isinstance(error, UnreadableReply)
        assert len(error.body) <= BODY_LIMIT
    assert outcome(fed(reply(most + b" "))).may_hold_token
    assert HEAD_LIMIT < RAW_LIMIT


def test_a_reply_without_a_length_ends_with_its_connection() -> None:
    """Closed in order, what came is all of it; reset, it is cut short, and read where it is whole all the same."""
    raw = b"HTTP/1.0 200 OK" + END
    assert fed(raw + BODY).reply().complete
    assert not fed(raw + BODY).reply("its connection was lost").complete
    assert isinstance(outcome(fed(raw + BODY), "its connection was lost"), Refreshed)
    assert outcome(fed(raw + BODY[:-9])).may_hold_token


def test_the_status_of_a_broken_head() -> None:
    """The status is read where it can be, so that an error in a broken frame is no success."""
    incoming = fed(reply(BODY, "no colon", start="HTTP/1.1 500 No"))
    assert incoming.reply().status == 500
    assert isinstance(outcome(incoming), UnreadableReply)
    assert fed(reply(BODY, start="HTTP/9 503 No")).reply().status == 503
    assert fed(BODY).reply().status == 0


def test_headers_that_count() -> None:
    """Of all headers, those that count are kept, in any case and joined where they come twice."""
    kept = (
        fed(reply(BODY, "RETRY-AFTER: 7", "content-encoding: identity", "Content-Encoding: identity")).reply().headers
    )
    assert kept["Retry-After"] == "7"
    assert kept["Content-Encoding"] == "identity, identity"
    trailer = chunked(BODY, end=b"0\r\nRetry-After: 7\r\n\r\n")
    assert "Retry-After" not in fed(trailer).reply().headers
