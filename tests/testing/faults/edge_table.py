"""What each edge fault makes of a plain reply, written down a second time: byte by byte, and without its code."""

import gzip
import json
import zlib
from collections.abc import Callable

from attrs import frozen


@frozen
class Plain:
    """The reply as Mesh sends it, and another login's."""

    raw: bytes
    foreign: bytes

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def size(self) -> int:
        return len(self.body)

    def framed(self, body: bytes, *lines: bytes) -> bytes:
        """With these lines in place of the length, and this body."""
        head = self.raw.partition(b"\r\n\r\n")[0].replace(b"Content-Length: %d\r\n" % self.size, b"")
        start, _, rest = head.partition(b"\r\n")
        return b"".join(line + b"\r\n" for line in (start, *lines, *rest.split(b"\r\n"))) + b"\r\n" + body


Makes = Callable[[Plain], bytes]
_START = b"HTTP/1.1 200 OK\r\n"


def _line(line: bytes) -> Makes:
    return lambda plain: plain.raw.replace(_START, _START + line + b"\r\n")


def _start(line: bytes) -> Makes:
    return lambda plain: plain.raw.replace(_START, line + b"\r\n" if line else b"")


def _lengths(*values: str) -> Makes:
    def make(plain: Plain) -> bytes:
        lines = (f"Content-Length: {value}".replace("N", str(plain.size)).encode() for value in values)
        return plain.framed(plain.body, *lines)

    return make


def _unsized(line: bytes = _START) -> Makes:
    return lambda plain: plain.framed(plain.body).replace(_START, line)


def _coded(*named: str, body: Callable[[bytes], bytes] = bytes) -> Makes:
    def make(plain: Plain) -> bytes:
        sent = body(plain.body)
        lines = [f"Content-Encoding: {name}".encode() for name in named]
        return plain.framed(sent, b"Content-Length: %d" % len(sent), *lines)

    return make


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def _bad_sum(body: bytes) -> bytes:
    packed = bytearray(_gzip(body))
    for at in range(-8, -4):
        packed[at] ^= 255
    return bytes(packed)


def _chunked(*lines: bytes, body: Callable[[bytes], bytes]) -> Makes:
    return lambda plain: plain.framed(body(plain.body), *lines or (b"Transfer-Encoding: chunked",))


def _one(size: str = "%x", by: int = 0, end: bytes = b"\r\n", tail: bytes = b"0\r\n\r\n") -> Callable[[bytes], bytes]:
    """One chunk."""
    return lambda body: (size % (len(body) + by) if "%" in size else size).encode() + b"\r\n" + body + end + tail


def _each(count: int, size: str) -> Callable[[bytes], bytes]:
    """Chunks of so many bytes."""

    def make(body: bytes) -> bytes:
        parts = [body[at : at + count] for at in range(0, len(body), count)]
        return b"".join((size % len(part)).encode() + b"\r\n" + part + b"\r\n" for part in parts) + b"0\r\n\r\n"

    return make


def _within(name: str, by: int = 0) -> Callable[[bytes], bytes]:
    """Two chunks, with their border in the middle of a token."""

    def make(body: bytes) -> bytes:
        token = json.loads(body)["content"]["brokerAccountTokens"][0][name].encode()
        at = body.index(token) + len(token) // 2
        one, two = body[:at], body[at:]
        return b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(one) + by, one, len(two) + by, two)

    return make


def _in_characters(plain: Plain) -> bytes:
    payload = {**json.loads(plain.body), "message": "Jeton renouvelé à Zürich: ça marche, señor"}
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    assert len(text) < len(text.encode())
    return plain.framed(text.encode(), b"Content-Length: %d" % len(text))


def _early(status: int) -> bytes:
    if status == 200:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
    page = b"<html><body><h1>The server is busy</h1></body></html>"
    head = b"HTTP/1.1 %d Busy\r\nContent-Length: %d\r\nContent-Type: text/html\r\n\r\n"
    return head % (status, len(page)) + page


def _plain(plain: Plain) -> bytes:
    return plain.raw


_TIMED_OUT = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/html\r\nContent-Length: 24\r\nConnection: close\r\n\r\n"
    b"<h1>Request Timeout</h1>"
)
_STRANGERS = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nContent-Length: 7\r\n\r\n"
_SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"

HEADS: dict[str, Makes] = {
    "long header of 8300 bytes": _line(b"X-Long: " + b"x" * 8292),
    "long header of 20000 bytes": _line(b"X-Long: " + b"x" * 19992),
    "long header of 70000 bytes": _line(b"X-Long: " + b"x" * 69992),
    "200 headers": _line(b"\r\n".join(b"X-Many-%d: %d" % (n, n) for n in range(200))),
    "1500 headers": _line(b"\r\n".join(b"X-Many-%d: %d" % (n, n) for n in range(1500))),
    "header without a colon": _line(b"X-Odd no colon"),
    "space before the colon": _line(b"X-Odd : value"),
    "header without a name": _line(b": value"),
    "space in a header's name": _line(b"X Odd: value"),
    "NUL in a header": _line(b"X-Odd: a\x00b"),
    "control byte in a header": _line(b"X-Odd: a\x01b"),
    "carriage return in a header": _line(b"X-Odd: a\rb"),
    "Latin-1 in a header": _line(b"X-Odd: Z\xfcrich"),
    "UTF-8 in a header": _line(b"X-Odd: Z\xc3\xbcrich"),
    "folded header": _line(b"X-Odd: one\r\n two"),
    "header folded by a tab": _line(b"X-Odd: one\r\n\ttwo"),
    "bare line feeds": lambda it: it.raw.replace(b"\r\n", b"\n"),
    "empty line first": lambda it: b"\r\n" + it.raw,
    "empty lines first": lambda it: b"\n\n\n" + it.raw,
    "byte order mark first": lambda it: b"\xef\xbb\xbf" + it.raw,
    "odd reason": _start(b"HTTP/1.1 200 All: is / well!"),
    "Latin-1 reason": _start(b"HTTP/1.1 200 Tr\xe8s bien"),
    "no reason": _start(b"HTTP/1.1 200"),
    "no reason, with its space": _start(b"HTTP/1.1 200 "),
    "lower-case version": _start(b"http/1.1 200 OK"),
    "version HTTP/2": _start(b"HTTP/2 200 OK"),
    "version HTTP/1.9": _start(b"HTTP/1.9 200 OK"),
    "garbled version": _start(b"HTP/1,1 200 OK"),
    "ICY": _start(b"ICY 200 OK"),
    "two spaces before the status": _start(b"HTTP/1.1  200 OK"),
    "status of two digits": _start(b"HTTP/1.1 20 OK"),
    "status that is no number": _start(b"HTTP/1.1 OK"),
    "status line missing": _start(b""),
    "204 with a body": _start(b"HTTP/1.1 204 No Content"),
    "205 with a body": _start(b"HTTP/1.1 205 Reset Content"),
    "304 with a body": _start(b"HTTP/1.1 304 Not Modified"),
    "HTTP/1.0, closed": _start(b"HTTP/1.0 200 OK"),
    "HTTP/1.0 without a length, closed": _unsized(b"HTTP/1.0 200 OK\r\n"),
    "HTTP/1.0 with keep-alive": _start(b"HTTP/1.0 200 OK\r\nConnection: keep-alive"),
    "HTTP/1.0 with keep-alive, without a length": _unsized(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"),
}

LENGTHS: dict[str, Makes] = {
    **{f"length {by:+d}, kept alive": lambda it, by=by: _lengths(str(it.size + by))(it) for by in (-7, -1, 1, 500)},  # type: ignore[misc]
    "length times 0.5, kept alive": lambda it: _lengths(str(it.size // 2))(it),
    "length +500, closed": lambda it: _lengths(str(it.size + 500))(it),
    "length -1, closed": lambda it: _lengths(str(it.size - 1))(it),
    "length in characters": _in_characters,
    "length 0 with a body": _lengths("0"),
    "no length, closed": _unsized(),
    "no length, kept alive": _unsized(),
    "no body": lambda it: it.raw.removesuffix(it.body),
    "two different lengths": _lengths("N", "7"),
    "two different lengths, the true one last": _lengths("7", "N"),
    "two equal lengths": _lengths("N", "N"),
    "negative length": _lengths("-1"),
    "length with a plus": _lengths("+N"),
    "length in hex": lambda it: _lengths(hex(it.size))(it),
    "list of lengths": _lengths("N, N"),
    "list of different lengths": _lengths("N, 7"),
    "length that is no number": _lengths("all"),
    "length with a fraction": _lengths("N.0"),
    "length of 30 digits": _lengths("9" * 30),
    "empty length": _lengths(""),
    "length with zeros": _lengths("000N"),
}

_TE = b"Transfer-Encoding: "
CHUNKS: dict[str, Makes] = {
    "length beside chunks": lambda it: it.framed(_one()(it.body), _TE + b"chunked", b"Content-Length: %d" % it.size),
    "wrong length beside chunks": _chunked(_TE + b"chunked", b"Content-Length: 7", body=_one()),
    **{
        f"transfer coding {coding}": _chunked(_TE + coding.encode(), body=_one())
        for coding in ("chunked, identity", "identity, chunked", "chunked, chunked", "CHUNKED", "gzip, chunked")
    },
    "transfer coding chunked twice: chunked": _chunked(_TE + b"chunked", _TE + b"chunked", body=_one()),
    "chunks unannounced": lambda it: it.framed(_one()(it.body)),
    "chunks unannounced, with a length": lambda it: it.framed(_one()(it.body), b"Content-Length: %d" % it.size),
    "unknown transfer coding over plain": _chunked(_TE + b"zip", body=bytes),
    "identity transfer coding over plain, closed": _chunked(_TE + b"identity", body=bytes),
    "chunked over plain": _chunked(_TE + b"chunked", body=bytes),
    "chunked over plain, with its length": _line(_TE + b"chunked"),
    "one chunk": _chunked(body=_one()),
    "chunks of one byte": _chunked(body=_each(1, "%x")),
    "chunk within the refresh token": _chunked(body=_within("refreshToken")),
    "chunk within the access token": _chunked(body=_within("accessToken")),
    "chunk extensions": _chunked(body=_each(50, '%x;name=value;quoted="a b"')),
    "long chunk extension": _chunked(body=_each(50, "%x;name=" + "v" * 5000)),
    "chunk sizes in capitals": _chunked(body=_each(171, "%X")),
    "chunk sizes with zeros": _chunked(body=_each(50, "%08x")),
    "chunk sizes with spaces": _chunked(body=_each(50, "%x  ")),
    "chunk size too small": _chunked(body=_one(by=-3)),
    "chunk size too large": _chunked(body=_one(by=9)),
    "chunk sizes too large, within the refresh token": _chunked(body=_within("refreshToken", 2)),
    "chunk size with 0x": _chunked(body=_one("0x%x")),
    "chunk size that is no number": _chunked(body=_one("zz")),
    "negative chunk size": _chunked(body=_one("-%x")),
    "chunk size of 30 digits": _chunked(body=_one("f" * 30)),
    "no line end after a chunk": _chunked(body=_one(end=b"")),
    "bare line feed after a chunk": _chunked(body=_one(end=b"\n")),
    "trailers": _chunked(body=_one(tail=b"0\r\nX-Sum: 17\r\nX-More: yes\r\n\r\n")),
    "long trailer": _chunked(body=_one(tail=b"0\r\nX-Sum: " + b"x" * 19993 + b"\r\n\r\n")),
    "trailer without a colon": _chunked(body=_one(tail=b"0\r\nno colon\r\n\r\n")),
    "last chunk without its end": _chunked(body=_one(tail=b"0\r\n")),
    "last chunk of four zeros": _chunked(body=_one(tail=b"0000\r\n\r\n")),
    "last chunk missing, kept alive": _chunked(body=_one(tail=b"")),
    "last chunk missing, closed": _chunked(body=_one(tail=b"")),
}

_OVER_PLAIN = ("gzip", "deflate", "br", "zstd", "x-unknown", "IdEnTiTy", "none", "utf-8")
CODINGS: dict[str, Makes] = {
    **{f"coding {name} over plain": _coded(name) for name in _OVER_PLAIN},
    "coding empty over plain": _coded(""),
    "coding gzip over gzip": _coded("gzip", body=_gzip),
    "coding gzip in odd case": _coded("GZip", body=_gzip),
    "coding x-gzip over gzip": _coded("x-gzip", body=_gzip),
    "coding unnamed over gzip": _coded(body=_gzip),
    "coding gzip named twice": _coded("gzip", "gzip", body=_gzip),
    "coding gzip twice": _coded("gzip, gzip", body=lambda it: _gzip(_gzip(it))),
    "coding gzip twice, named once": _coded("gzip", body=lambda it: _gzip(_gzip(it))),
    "coding gzip over gzip cut": _coded("gzip", body=lambda it: _gzip(it)[:-6]),
    "coding gzip over gzip bad sum": _coded("gzip", body=_bad_sum),
    "coding deflate over zlib": _coded("deflate", body=zlib.compress),
    "coding deflate over raw deflate": _coded("deflate", body=lambda it: zlib.compress(it)[2:-4]),
    "coding br over gzip": _coded("br", body=_gzip),
}

_WHILE = ("at once", "in the next segment", "while idle")
REPLIES: dict[str, Makes] = {
    **{f"the reply 2 times, {when}": lambda it: it.raw * 2 for when in _WHILE},
    **{f"the reply 3 times, {when}": lambda it: it.raw * 3 for when in (_WHILE[0], _WHILE[2])},
    **{f"another login's reply, {when}": lambda it: it.raw + it.foreign for when in _WHILE},
    **{
        f"early {status}, {when}": lambda it, status=status: _early(status) + it.raw  # type: ignore[misc]
        for when in _WHILE
        for status in (200, 408, 503)
    },
    **{
        f"{name}, {when}": lambda it, data=data: it.raw + data  # type: ignore[misc]
        for when in (_WHILE[0], _WHILE[2])
        for name, data in {
            "empty line": b"\r\n",
            "408": _TIMED_OUT,
            "stranger's reply": _STRANGERS,
            "garbage": b"\x16\x03\x01\x00garbage",
            "one byte": b"H",
        }.items()
    },
    "interim 100": lambda it: _CONTINUE + it.raw,
    "interim 102": lambda it: b"HTTP/1.1 102 Processing\r\n\r\n" + it.raw,
    "interim 103": lambda it: _HINTS + it.raw,
    "interim 199": lambda it: b"HTTP/1.1 199 Odd\r\n\r\n" + it.raw,
    "interim 100, 100, 103": lambda it: _CONTINUE * 2 + _HINTS + it.raw,
    "interim 101": lambda it: _SWITCH + it.raw,
    "unsent 502": lambda _: _early(502),
    "unsent 503": lambda _: _early(503),
}

AFTER_THE_NEXT: dict[str, Callable[[Plain, bytes], bytes]] = {
    "the reply 2 times": lambda it, after: it.raw * 2 + after,
    "another login's reply": lambda it, after: it.raw + it.foreign + after,
    "early 200": lambda it, after: _early(200) + it.raw + after,
    "early 408": lambda it, after: _early(408) + it.raw + after,
    "early 503": lambda it, after: _early(503) + it.raw + after,
}
"""With the reply to the next request, before which the rest has come."""

CUTS: dict[str, Makes] = {
    f"{how} at {place}": lambda it, place=place: it.raw[:place]  # type: ignore[misc]
    for how in ("cut", "reset")
    for place in (0, 1, 40, -300, -1)
}

WHOLE: dict[str, Makes] = {
    **{f"split at {place}": _plain for place in (1, 12, -1, -40)},
    "segments of 1": _plain,
    "segments of 7": _plain,
    "split at borders": _plain,
    **{f"{how} after the reply": _plain for how in ("closed", "half-closed", "reset", "kept")},
    "cut, unsent": lambda _: b"",
}

ALL = {**HEADS, **LENGTHS, **CHUNKS, **CODINGS, **REPLIES, **CUTS, **WHOLE}
"""The bytes of one exchange, whatever its segments and its end."""
