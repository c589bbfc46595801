"""Decompressing bodies. No request asks for compression, but some proxies compress all the same."""

import zlib

BODY_LIMIT = 16 << 20
"""The largest body that is read, in bytes, after decompression too."""

_CODINGS = ("gzip", "x-gzip", "deflate")
_MOST_CODINGS = 3
_BLOCK = 4096


def decompressed(encoding: str, body: bytes) -> tuple[bytes | None, bool]:
    """`body` decompressed, and whether that is all of it. None where no part of it can be decompressed.

    `encoding` is the value of ``Content-Encoding``, which may name several codings, the last one applied last.
    """
    names = [name for name in (part.strip().lower() for part in encoding.split(",")) if name not in ("", "identity")]
    if not names or not body:
        return body, True
    if len(names) > _MOST_CODINGS or not set(names) <= set(_CODINGS):
        return None, False
    whole = True
    for _ in names:
        for window in (47, -15):  # gzip or zlib by their header, then the raw form that some servers call deflate
            found, whole = _inflated(body, window)
            # The first bytes of plain text can pass for the raw form. The result is not JSON then.
            if found and (whole or window > 0 or found.lstrip()[:1] in (b"{", b"[")):
                body = found
                break
        else:
            return None, False
        if not whole:
            break
    return body, whole


def inflated(body: bytes) -> bytes | None:
    """The content of `body`, up to a fault, where `body` begins like gzip or zlib, or is JSON in the raw form.

    None where it is none of these.
    """
    if body[:2] == b"\x1f\x8b" or body[:1] == b"\x78":
        return _inflated(body, 47)[0] or None
    found, _ = _inflated(body, -15)
    return found if found.lstrip()[:1] in (b"{", b"[") else None


def _inflated(body: bytes, window: int) -> tuple[bytes, bool]:
    """The content up to a fault, and whether the end was reached. A gzip file may have several members."""
    found = b""
    while True:
        inflate = zlib.decompressobj(window)
        try:
            found += inflate.decompress(body, BODY_LIMIT + 1 - len(found))
        except zlib.error:
            return found + _as_far_as_it_goes(body, window, BODY_LIMIT - len(found)), False
        if not inflate.eof or len(found) > BODY_LIMIT:
            return found[:BODY_LIMIT], False
        body = inflate.unused_data
        if not body:
            return found, True


def _as_far_as_it_goes(body: bytes, window: int, limit: int) -> bytes:
    """The content before a fault in `body`, such as a wrong check sum. In one call, zlib would give none of it."""
    inflate, found, at, size = zlib.decompressobj(window), b"", 0, _BLOCK
    while at < len(body) and len(found) < limit:
        before = inflate.copy()
        try:
            found += inflate.decompress(body[at : at + size], limit - len(found))
        except zlib.error:
            if size == 1:
                break
            inflate, size = before, 1  # byte by byte through the block that has the fault
        else:
            at += size
    return found
