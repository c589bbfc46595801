"""Reading one reply while it comes in. No I/O.

llhttp (by httptools) tells where the reply ends and whether its connection may be used again, and nothing more. Every
byte is kept until the reply is understood. Bytes that the parser refuses may be the only copy of a token, and the codec
looks for the envelope in them. docs/decisions/a-transport-that-keeps-its-bytes.md has the reasons.
"""

from bisect import bisect_left

import httptools
from attrs import define, field

from mesh_refresh.codec import BODY_LIMIT, brings_token, holds_envelope, status_in
from mesh_refresh.messages import REQUEST_IDS, HttpReply

HEADER_LIMIT = 64 << 10
"""The longest header, in bytes. Longer ones are refused as framing; the bytes are kept all the same."""
HEADERS_LIMIT = 1000
HEAD_LIMIT = 1 << 20
"""All headers together, in bytes."""
RAW_LIMIT = HEAD_LIMIT + BODY_LIMIT
"""The largest reply, in bytes, where its head cannot be told from its body."""

QUIET = 0.3
"""Seconds of silence after which a reply that looks whole is taken, though its framing says otherwise."""
LONG_QUIET = 10.0
"""Seconds of silence after which a reply without usable framing is taken as it is."""

KEPT_HEADERS = {name.lower().encode(): name for name in ("Content-Encoding", "Retry-After", *REQUEST_IDS)}
_LONG_HEAD = f"its headers are longer than {HEAD_LIMIT} bytes"
_LENGTHS = (b"content-length", b"transfer-encoding")

_TAIL = 8
"""In how many of the last segments the end of a reply is looked for."""


@define(eq=False, repr=False, weakref_slot=False)
class Incoming:
    """Reads one reply. It is also the object whose methods httptools calls."""

    _sent: bytes = b""
    """The body of the request."""
    size: int = 0
    """How many bytes have come."""
    complete: bool = False
    """Whether the parser has seen the end."""
    fault: str | None = None
    """What is wrong with the framing, in words that quote no byte of it."""
    _segments: list[bytes] = field(factory=list)
    _surplus: bool = False
    _in_next_message: bool = False
    _keep_alive: bool = False
    _parser: httptools.HttpResponseParser = field(init=False)
    _status: int = field(init=False)
    _headers: dict[str, str] = field(init=False, repr=False)
    _headers_seen: int = field(init=False)
    _head_size: int = field(init=False)
    _body: list[bytes] = field(init=False, repr=False)
    _body_size: int = field(init=False)
    _chunked: bool = field(init=False)
    _has_length: bool = field(init=False)
    _in_body: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._start()

    def _start(self) -> None:
        self._status = self._headers_seen = self._head_size = self._body_size = 0
        self._headers, self._body = {}, []
        self._chunked = self._has_length = self._in_body = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Never raises: `complete` and `fault` have the result."""
        self._segments.append(data)
        self.size += len(data)
        was_complete, was_faulty = self.complete, self.fault is not None
        if was_complete:
            self._surplus = True
        if was_complete or was_faulty:
            return
        try:
            self._parser.feed_data(data)
        except Exception as error:  # noqa: BLE001 - a parser may raise anything, and must not cost the bytes
            if self.complete:
                self._surplus = True
            elif self.fault is None:
                self.fault = str(error) if isinstance(error, httptools.HttpParserError) else type(error).__name__
            return
        if self.complete:
            # The end of the reply is not searched for: the bytes must end as the reply ends.
            end = b"0\r\n\r\n" if self._chunked else self._body[-1] if self._body else b"\r\n\r\n"
            last = data if len(data) >= len(end) else self.raw
            self._surplus = self._surplus or not last.endswith(end)
        elif not self._in_body and self.size > HEAD_LIMIT:
            self.fault = _LONG_HEAD

    def next_wait(self, silent: float) -> float | None:
        """After `silent` seconds without a byte: for how many more to wait before asking again.

        0.0: the bytes so far are the reply. None: only the end of the connection, or the caller's deadline, ends it.
        """
        if self.complete:
            # More bytes behind it may be on their way: cut in two, a token in them would be in neither part.
            return 0.0 if silent or (self._is_sound() and not self._surplus) else QUIET
        if self._body_size > BODY_LIMIT or self.size > RAW_LIMIT:
            return 0.0
        if not silent:
            return QUIET if self.fault or self._ends_like_a_reply() else None
        if silent >= LONG_QUIET or holds_envelope(self.raw):
            return 0.0
        return LONG_QUIET - silent if self.fault else None

    @property
    def raw(self) -> bytes:
        """All bytes that came."""
        return b"".join(self._segments)

    @property
    def reusable(self) -> bool:
        """Whether the connection may serve another request, because no more bytes of this reply can come.

        Only after a plain success with a token in it that was not sent. A proxy that answers early, or in place of the
        server, may pass on the real reply later, and that would be taken for the reply to the next request.
        """
        if not self._keep_alive or self._surplus or not 200 <= self._status < 300:
            return False
        encoding = self._headers.get("Content-Encoding", "identity")
        return brings_token(self._body[0] if len(self._body) == 1 else b"".join(self._body), encoding, self._sent)

    def reply(self, ended: str | None = None) -> HttpReply:
        """The bytes that came, as a reply. `ended` says why no more comes; None: the connection was closed in order."""
        status, headers, body = self._status, self._headers, b"".join(self._body)
        if self.complete and not self._surplus:
            return HttpReply(status, headers, body)
        raw = self.raw
        if self.complete:
            return HttpReply(status, headers, body, raw=raw, surplus=raw[self._end(raw) :].strip())
        if self.fault is None and self._in_body and not self._has_length and ended is None:
            return HttpReply(status, headers, body)  # a reply without a length ends with its connection
        status = status or status_in(raw)
        fault = self.fault or ended or "its connection was closed inside of it"
        # Where the body only breaks off, the parser's reading of it is kept, and the raw bytes are not needed.
        kept = b"" if self._in_body and not self.fault else raw
        return HttpReply(status, headers, body, complete=False, raw=kept, fault=fault)

    def _is_sound(self) -> bool:
        """Whether the end that the parser saw is believed at once.

        A length that counts characters, or is too small, ends a success inside of its JSON: then the rest may be on its
        way.
        """
        if not 200 <= self._status < 300 or "Content-Encoding" in self._headers:
            return True
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        return body.endswith((b"}", b"}\n", b"}\r\n")) and body.count(b"{") == body.count(b"}")

    def _ends_like_a_reply(self) -> bool:
        end = b"".join(self._segments[-_TAIL:])[-64:]
        return end.endswith(b"0\r\n\r\n") or end.rstrip(b" \t\r\n0").endswith((b"}", b">"))

    @staticmethod
    def _end(raw: bytes) -> int:
        """Where in `raw` the reply ends. The parser does not tell, so this tries; it is slow, and seldom needed."""

        def completes(length: int) -> bool:
            again = Incoming()
            again.feed(raw[:length])
            return again.complete

        return bisect_left(range(len(raw)), 1, key=completes)

    def forget_parser(self) -> None:
        """Drop the parser after the last byte. Both refer to each other, and would wait for the garbage collector."""
        del self._parser

    # What httptools calls.

    def on_message_begin(self) -> None:
        """A message begins. Behind a complete reply, and behind one refused as too large, it is no reply."""
        self._surplus = self.complete
        self._in_next_message = self.complete or self.fault is not None

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer."""
        if self._in_next_message or self._in_body:
            return
        self._headers_seen += 1
        size = len(name) + len(value)
        self._head_size += size
        if self._head_size > HEADER_LIMIT or self._headers_seen > HEADERS_LIMIT:
            self.fault = self._fault_of_head(size) or self.fault
        name = name.lower()
        if (kept := KEPT_HEADERS.get(name)) is not None:
            text = value.decode("latin-1")
            self._headers[kept] = f"{self._headers[kept]}, {text}" if kept in self._headers else text
        elif name in _LENGTHS:
            self._has_length = True

    def _fault_of_head(self, size: int) -> str | None:
        """What is wrong with the headers so far, the last of which has this `size`."""
        if size > HEADER_LIMIT:
            return f"it has a header of more than {HEADER_LIMIT} bytes"
        if self._head_size > HEAD_LIMIT:
            return _LONG_HEAD
        return f"it has more than {HEADERS_LIMIT} headers" if self._headers_seen > HEADERS_LIMIT else None

    def on_headers_complete(self) -> None:
        """The head has ended."""
        if not self._in_next_message:
            self._status = self._parser.get_status_code()
            self._in_body = True

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._chunked = self._chunked or not self._in_next_message

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if self._in_next_message:
            return
        self._body.append(data)
        self._body_size += len(data)
        if self._body_size > BODY_LIMIT:
            self.fault = f"it is larger than {BODY_LIMIT >> 20} MiB"

    def on_message_complete(self) -> None:
        """The parser has seen the end."""
        if self._in_next_message or self.fault is not None:
            return
        if self._status == 101:
            self.fault, self._status = "it switches to another protocol", 0
            return
        if self._status < 200:
            self._start()  # an interim reply: the real one follows
            return
        self.complete = True
        self._keep_alive = self._parser.should_keep_alive()
