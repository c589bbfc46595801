"""Ids in the path of a URL. Pure.

A segment is percent-encoded UTF-8, or ``~`` and base64url without padding. Proxies normalise ``.``, ``..``, ``%2F`` and
``%7E``: so an id that is ``.`` or ``..``, holds ``/`` or begins with ``~`` is taken in the second form only.
"""

import base64
import re

from mesh_refresh.errors import InvalidRequest

_PLAIN = re.compile(r"[A-Za-z0-9_@:-][A-Za-z0-9_@:.~-]*")
"""Most ids."""
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_TILDE_FORM = "Write it as ~ and base64url (of its UTF-8, without padding)."
_NOT_TEXT = "An id in the path is not UTF-8."


def raw_segment(raw_path: str, template: str, name: str) -> str:
    """The segment of `raw_path` that stands where `template` has ``{name}``, as it was sent.

    It is counted from the end, so an application that is mounted below another path finds it too.
    """
    parts = template.split("/")
    path = raw_path.partition("?")[0].partition("#")[0]
    return path.split("/")[parts.index(f"{{{name}}}") - len(parts)]


def read_segment(raw: str) -> str:
    """The id that a segment stands for. Raises `InvalidRequest` for one that stands for none, or not in this form."""
    if raw.startswith("~"):
        return _read_base64(raw[1:])
    if _PLAIN.fullmatch(raw):
        return raw
    sent = raw.encode("utf-8", "surrogateescape")
    if any(found[1] is None for found in _ESCAPE.finditer(sent)):
        raise InvalidRequest("An id in the path has a % that begins no escape.")
    text = _decoded(_ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), sent))
    if text.startswith("~"):
        raise InvalidRequest(f"An id in the path begins with an escaped ~. {_TILDE_FORM}")
    if text in ("", ".", "..") or "/" in text:
        raise InvalidRequest(f"An id in the path is empty, a dot segment, or holds a slash. {_TILDE_FORM}")
    return text


def write_base64(text: str) -> str:
    """`text` as base64url without padding."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_base64(encoded: str) -> str | None:
    """What `write_base64` was given; None for what it does not write."""
    try:
        text = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        return None
    return text if write_base64(text) == encoded else None


def _read_base64(encoded: str) -> str:
    text = read_base64(encoded)
    if not text:
        raise InvalidRequest(f"An id in the path begins with ~ and is not in the form that this says. {_TILDE_FORM}")
    return text


def _decoded(sent: bytes) -> str:
    try:
        return sent.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(_NOT_TEXT) from None
