"""Bodies that came compressed although nobody asked for it, as proxies like to do."""

import zlib

BODY_LIMIT = 1 << 20
"""The largest body that is read, in bytes, after decompression too."""


def decompressed(encoding: str, body: bytes) -> tuple[bytes | None, bool]:
    """What `body` was before compression, and whether that is all of it. None where nothing of it can be had."""
    if encoding == "identity" or not body:
        return body, True
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return None, False
    for window in (47, -15):  # gzip or zlib by their header, then the raw form that some servers call deflate
        found, whole = _inflated(body, window)
        if found:
            return found, whole
    return None, False


def _inflated(body: bytes, window: int) -> tuple[bytes, bool]:
    """As much as can be had, and whether the end was reached. A gzip file may have several members."""
    found = b""
    while True:
        inflate = zlib.decompressobj(window)
        try:
            found += inflate.decompress(body, BODY_LIMIT + 1 - len(found))
        except zlib.error:
            return found, False
        if not inflate.eof or len(found) > BODY_LIMIT:
            return found[:BODY_LIMIT], False
        body = inflate.unused_data
        if not body:
            return found, True
