"""An HTTP reply in parts that can be damaged one by one, and put together to bytes again. Pure."""

import re
from typing import Self

from attrs import evolve, field, frozen

from mesh_refresh.masking import masked_size
from mesh_refresh.testing.model.salvage import without_chunks


@frozen
class Message:
    """A reply as it goes over the wire."""

    start: bytes
    """The status line, without its end."""
    fields: tuple[bytes, ...] = ()
    """The header lines, without their ends."""
    body: bytes = field(default=b"", repr=masked_size)
    """As it is on the wire: with its chunk lines, and in its coding."""
    lead: bytes = b""
    """What stands before the status line."""
    newline: bytes = b"\r\n"
    """What ends each line of the head."""

    @classmethod
    def parse(cls, head: bytes, body: bytes) -> Self:
        """The parts of a well-formed reply, whose `head` ends in an empty line."""
        start, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        return cls(start, tuple(fields), body)

    @property
    def raw(self) -> bytes:
        """All of its bytes."""
        lines = (line for line in (self.start, *self.fields) if line)
        return self.lead + b"".join(line + self.newline for line in lines) + self.newline + self.body

    @property
    def status(self) -> int | None:
        """The HTTP code; None where the status line has none."""
        found = re.match(rb"\S+ (\d{3})(?: |$)", self.start)
        return int(found[1]) if found else None

    @property
    def payload(self) -> bytes:
        """The body without chunk lines."""
        return without_chunks(self.body) if self.value(b"transfer-encoding") else self.body

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may carry another exchange after it."""
        said = (self.value(b"connection") or b"").lower()
        return said == b"keep-alive" if self.start.startswith(b"HTTP/1.0") else said != b"close"

    def value(self, name: bytes) -> bytes | None:
        """The value of the first header of that name, which is given in lower case."""
        pairs = (line.partition(b":") for line in self.fields)
        return next((value.strip() for key, _, value in pairs if key.lower() == name), None)

    def without(self, *names: bytes) -> Self:
        """The reply without the headers of these names, given in lower case."""
        return evolve(self, fields=tuple(line for line in self.fields if line.partition(b":")[0].lower() not in names))

    def with_lines(self, *lines: bytes) -> Self:
        """The reply with these header lines before all others."""
        return evolve(self, fields=(*lines, *self.fields))

    def with_body(self, body: bytes, *lines: bytes) -> Self:
        """The reply with this body and these header lines in place of those that frame it."""
        return evolve(self.without(b"content-length", b"transfer-encoding"), body=body).with_lines(*lines)

    def with_payload(self, payload: bytes, *lines: bytes) -> Self:
        """The reply with this body, its length, and these header lines."""
        return self.with_body(payload, b"Content-Length: %d" % len(payload), *lines)
