"""EdgeFault: something that an edge does to a reply, as a value with a name; and one of each kind."""

from collections.abc import Iterator
from difflib import get_close_matches

from attrs import evolve, frozen

from mesh_refresh.testing.faults.edge import replies
from mesh_refresh.testing.faults.edge.bodies import Body, Chunks
from mesh_refresh.testing.faults.edge.constructors import EdgeFaultConstructors
from mesh_refresh.testing.faults.edge.reach import Reach
from mesh_refresh.testing.faults.edge.replies import Moment

_FOREIGN = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'


@frozen
class EdgeFault(EdgeFaultConstructors):
    """One thing that an `Edge` does to a reply. Made by the class methods; `all` has one of each kind.

    Faults combine: ``EdgeFault.long_header() | EdgeFault.split_at(100)``. What they do to the body comes first, then
    the head, then what is sent before and behind the reply, then segments, then the end of the connection.
    """

    @classmethod
    def all(cls) -> dict[str, "EdgeFault"]:
        """One of each kind, by name: for ``@pytest.mark.parametrize``."""
        return {fault.name: fault for fault in _each_kind()}

    @classmethod
    def named(cls, name: str) -> "EdgeFault":
        """The fault of that name in `all`; of several, joined by ``+`` with a blank on each side, all at once.

        Raises `ValueError`, with the names that are close.
        """
        faults = cls.all()
        first, *others = name.split(" + ")
        if first not in faults:
            close = get_close_matches(first, faults, 5, 0.4)
            hint = f" Close to it: {'; '.join(close)}." if close else ""
            raise ValueError(f"There is no edge fault {first!r}.{hint}")
        return faults[first] | cls.named(" + ".join(others)) if others else faults[first]


def _each_kind() -> Iterator[EdgeFault]:
    yield from _heads()
    yield from _start_lines()
    yield from _lengths()
    yield from _transfer_encodings()
    yield from _codings()
    yield from _chunks()
    yield from _more_replies()
    yield from _segments_and_ends()


def _heads() -> Iterator[EdgeFault]:
    for size in (8_300, 20_000, 70_000):
        yield EdgeFault.long_header(size)
    for count in (200, 1_500):
        yield EdgeFault.many_headers(count)
    lines = {
        "header without a colon": b"X-Odd no colon",
        "space before the colon": b"X-Odd : value",
        "header without a name": b": value",
        "space in a header's name": b"X Odd: value",
        "NUL in a header": b"X-Odd: a\0b",
        "control byte in a header": b"X-Odd: a\x01b",
        "carriage return in a header": b"X-Odd: a\rb",
        "Latin-1 in a header": "X-Odd: Zürich".encode("latin-1"),
        "UTF-8 in a header": "X-Odd: Zürich".encode(),
        "folded header": b"X-Odd: one\r\n two",
        "header folded by a tab": b"X-Odd: one\r\n\ttwo",
    }
    for name, line in lines.items():
        yield EdgeFault.header(line, name)
    yield evolve(EdgeFault.line_ends(b"\n"), name="bare line feeds")
    yield EdgeFault.lead()
    yield EdgeFault.lead(b"\n\n\n", "empty lines first")
    yield EdgeFault.lead(b"\xef\xbb\xbf", "byte order mark first")


def _start_lines() -> Iterator[EdgeFault]:
    lines = {
        "odd reason": b"HTTP/1.1 %d All: is / well!",
        "Latin-1 reason": "HTTP/1.1 %d Très bien".encode("latin-1"),
        "no reason": b"HTTP/1.1 %d",
        "no reason, with its space": b"HTTP/1.1 %d ",
        "lower-case version": b"http/1.1 %d OK",
        "version HTTP/2": b"HTTP/2 %d OK",
        "version HTTP/1.9": b"HTTP/1.9 %d OK",
        "garbled version": b"HTP/1,1 %d OK",
        "ICY": b"ICY %d OK",
        "two spaces before the status": b"HTTP/1.1  %d OK",
        "status of two digits": b"HTTP/1.1 20 OK",
        "status that is no number": b"HTTP/1.1 OK",
        "status line missing": None,
    }
    for name, line in lines.items():
        yield EdgeFault.start_line(line, name)
    yield EdgeFault.start_line(b"HTTP/1.1 204 No Content", "204 with a body")
    yield EdgeFault.start_line(b"HTTP/1.1 205 Reset Content", "205 with a body")
    yield EdgeFault.start_line(b"HTTP/1.1 304 Not Modified", "304 with a body", reach=Reach.BYTES)
    old = EdgeFault.start_line(b"HTTP/1.0 %d OK", "HTTP/1.0")
    kept = EdgeFault.header(b"Connection: keep-alive", "kept") | EdgeFault.end("kept")
    yield _named("HTTP/1.0, closed", old | EdgeFault.end("closed"))
    yield _named("HTTP/1.0 without a length, closed", old | EdgeFault.no_length(close=True))
    yield _named("HTTP/1.0 with keep-alive", old | kept)
    yield _named("HTTP/1.0 with keep-alive, without a length", old | EdgeFault.no_length(close=False) | kept)


def _lengths() -> Iterator[EdgeFault]:
    for by in (-1, -7, 1, 500):
        yield EdgeFault.length_off(by)
    yield EdgeFault.length_off(part=0.5)
    yield EdgeFault.length_off(500, close=True)
    yield EdgeFault.length_off(-1, close=True)
    yield EdgeFault.length_in_characters()
    yield EdgeFault.content_length("0", name="length 0 with a body")
    yield EdgeFault.no_length(close=True)
    yield EdgeFault.no_length(close=False)
    yield EdgeFault.no_body()
    values: dict[str, tuple[str, ...]] = {
        "two different lengths": ("{n}", "7"),
        "two different lengths, the true one last": ("7", "{n}"),
        "two equal lengths": ("{n}", "{n}"),
        "negative length": ("-1",),
        "length with a plus": ("+{n}",),
        "length in hex": ("0x{n:x}",),
        "list of lengths": ("{n}, {n}",),
        "list of different lengths": ("{n}, 7",),
        "length that is no number": ("all",),
        "length with a fraction": ("{n}.0",),
        "length of 30 digits": ("9" * 30,),
        "empty length": ("",),
        "length with zeros": ("000{n}",),
    }
    for name, sizes in values.items():
        yield EdgeFault.content_length(*sizes, name=name)


def _transfer_encodings() -> Iterator[EdgeFault]:
    for size, name in (("{n}", "length beside chunks"), ("7", "wrong length beside chunks")):
        yield EdgeFault.chunked(Chunks(), name, lengths=(size,))
    for coding in (
        "chunked, identity",
        "identity, chunked",
        "chunked, chunked",
        "chunked\nchunked",
        "CHUNKED",
        "gzip, chunked",
    ):
        yield EdgeFault.chunked(Chunks(), f"transfer coding {coding}".replace("\n", " twice: "), coding=coding)
    yield EdgeFault.chunked(Chunks(), "chunks unannounced", coding=None)
    yield EdgeFault.chunked(Chunks(), "chunks unannounced, with a length", coding=None, lengths=("{n}",))
    yield _named("unknown transfer coding over plain", EdgeFault.no_length(close=False) | _transfer("zip"))
    yield _named("identity transfer coding over plain, closed", EdgeFault.no_length(close=True) | _transfer("identity"))
    yield _named("chunked over plain", EdgeFault.no_length(close=False) | _transfer("chunked"))
    yield _named("chunked over plain, with its length", _transfer("chunked"))


def _codings() -> Iterator[EdgeFault]:
    for coding in ("gzip", "deflate", "br", "zstd", "x-unknown", "IdEnTiTy", "", "none", "utf-8"):
        yield EdgeFault.coding(coding, name=f"coding {coding or 'empty'} over plain")
    yield EdgeFault.coding("gzip", body=Body.GZIP)
    yield EdgeFault.coding("GZip", body=Body.GZIP, name="coding gzip in odd case")
    yield EdgeFault.coding("x-gzip", body=Body.GZIP)
    yield EdgeFault.coding(body=Body.GZIP)
    yield EdgeFault.coding("gzip", "gzip", body=Body.GZIP, name="coding gzip named twice")
    yield EdgeFault.coding("gzip, gzip", body=Body.GZIP_TWICE, name="coding gzip twice")
    yield EdgeFault.coding("gzip", body=Body.GZIP_TWICE, name="coding gzip twice, named once")
    yield EdgeFault.coding("gzip", body=Body.GZIP_CUT)
    yield EdgeFault.coding("gzip", body=Body.GZIP_BAD_SUM)
    yield EdgeFault.coding("deflate", body=Body.ZLIB)
    yield EdgeFault.coding("deflate", body=Body.RAW_DEFLATE)
    yield EdgeFault.coding("br", body=Body.GZIP)


def _chunks() -> Iterator[EdgeFault]:
    shapes: dict[str, Chunks] = {
        "one chunk": Chunks(),
        "chunks of one byte": Chunks(each=1),
        "chunk within the refresh token": Chunks(cuts=("refreshToken",)),
        "chunk within the access token": Chunks(cuts=("accessToken",)),
        "chunk extensions": Chunks(each=50, line='{n:x};name=value;quoted="a b"'),
        "long chunk extension": Chunks(each=50, line="{n:x};name=" + "v" * 5_000),
        "chunk sizes in capitals": Chunks(each=171, line="{n:X}"),
        "chunk sizes with zeros": Chunks(each=50, line="{n:08x}"),
        "chunk sizes with spaces": Chunks(each=50, line="{n:x}  "),
        "chunk size too small": Chunks(off_by=-3),
        "chunk size too large": Chunks(off_by=9),
        "chunk size with 0x": Chunks(line="0x{n:x}"),
        "chunk size that is no number": Chunks(line="zz"),
        "negative chunk size": Chunks(line="-{n:x}"),
        "chunk size of 30 digits": Chunks(line="f" * 30),
        "no line end after a chunk": Chunks(end=b""),
        "bare line feed after a chunk": Chunks(end=b"\n"),
        "trailers": Chunks(trailers=(b"X-Sum: 17", b"X-More: yes")),
        "long trailer": Chunks(trailers=(b"X-Sum: ".ljust(20_000, b"x"),)),
        "trailer without a colon": Chunks(trailers=(b"no colon",)),
        "last chunk without its end": Chunks(over=b""),
        "last chunk of four zeros": Chunks(last=b"0000\r\n"),
    }
    for name, chunks in shapes.items():
        yield EdgeFault.chunked(chunks, name)
    lying = EdgeFault.chunked(
        Chunks(cuts=("refreshToken",), off_by=2), "chunk sizes too large, within the refresh token"
    )
    yield evolve(lying, reach=Reach.BYTES)
    open_end = EdgeFault.chunked(Chunks(last=b"", over=b""), "last chunk missing")
    yield _named("last chunk missing, kept alive", open_end | EdgeFault.end("kept"))
    yield _named("last chunk missing, closed", open_end | EdgeFault.end("closed"))


def _more_replies() -> Iterator[EdgeFault]:
    for when in Moment:
        yield EdgeFault.repeat(when=when)
        yield EdgeFault.repeat(when=when, foreign=True)
        for status in (200, 408, 503):
            yield EdgeFault.early(status, when=when)
    for when in (Moment.AT_ONCE, Moment.IDLE):
        yield EdgeFault.repeat(3, when=when)
    strays = {
        "empty line": b"\r\n",
        "408": replies.REQUEST_TIMEOUT,
        "stranger's reply": _FOREIGN,
        "garbage": b"\x16\x03\x01\x00garbage",
        "one byte": b"H",
    }
    for when in (Moment.AT_ONCE, Moment.IDLE):
        for name, data in strays.items():
            stray = EdgeFault.stray(data, name, when=when)
            yield evolve(stray, mingles=data is _FOREIGN)
    for codes in ((100,), (102,), (103,), (199,), (100, 100, 103), (101,)):
        yield EdgeFault.interim(*codes)
    yield EdgeFault.unsent()
    yield EdgeFault.unsent(503)


def _segments_and_ends() -> Iterator[EdgeFault]:
    for place in (1, 12, -1, -40):
        yield EdgeFault.split_at(place)
    yield EdgeFault.split_each(1)
    yield EdgeFault.split_each(7)
    yield EdgeFault.split_at_borders()
    for reset in (False, True):
        for place in (0, 1, 40, -300, -1):
            yield EdgeFault.cut_at(place, reset=reset)
    for how in ("closed", "half-closed", "reset", "kept"):
        yield EdgeFault.end(how)
    unsent = EdgeFault.unsent() | EdgeFault.cut_at(0)
    yield evolve(unsent, name="cut, unsent")


def _transfer(coding: str) -> EdgeFault:
    return EdgeFault.header(f"Transfer-Encoding: {coding}".encode(), coding)


def _named(name: str, fault: EdgeFault) -> EdgeFault:
    """Parts that make one fault are under one name, and agree with one another."""
    return evolve(fault, name=name, reach=Reach.WHOLE)
