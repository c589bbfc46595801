"""How secrets look wherever an object is shown: not at all."""

from collections.abc import Mapping
from typing import Any, SupportsIndex, overload

MASK = "'***'"

# Shorter strings occur in ordinary prose; blotting those out would ruin a message and hide nothing.
_SHORTEST_SECRET = 4
# What lies deeper in a server's JSON is not looked through, and so not shown.
_DEEPEST = 50


def masked(value: object) -> str:
    """A `repr` that tells only whether there is a value (for ``attrs.field(repr=masked)``)."""
    return "None" if value is None else MASK


def masked_size(value: bytes) -> str:
    """A `repr` of a body: its size, which helps in a bug report, and none of it."""
    return f"<{len(value)} bytes>"


def masked_values(value: Mapping[str, object] | None) -> str:
    """A `repr` of a mapping: its keys, never its values."""
    return "None" if value is None else "{" + ", ".join(f"{key!r}: {MASK}" for key in value) + "}"


def scrubbed(value: object, secrets: tuple[str, ...], depth: int = 0) -> object:
    """`value` (text, or JSON of any shape) with every one of `secrets` blotted out.

    Servers echo what they were sent: a refused token must not come back inside an error message.
    """
    if isinstance(value, str):
        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET and secret in value:
                value = value.replace(secret, "***")
        return value
    if not isinstance(value, dict | list):
        return value
    if depth == _DEEPEST:
        return "***"
    if isinstance(value, dict):
        return {scrubbed(key, secrets): scrubbed(item, secrets, depth + 1) for key, item in value.items()}
    return [scrubbed(item, secrets, depth + 1) for item in value]


# Locals are shown too: error trackers render the frames of a traceback with them. Raw secrets in a frame that can
# raise are held in one of these.


class MaskedStr(str):
    """Text that shows itself masked."""

    __slots__ = ()

    def __repr__(self) -> str:
        return MASK

    def __getitem__(self, key: SupportsIndex | slice) -> "MaskedStr":
        # Renderers cut long text before they show it: a part of a secret is one too.
        return MaskedStr(super().__getitem__(key))


class MaskedBytes(bytes):
    """Bytes that show themselves by their number."""

    __slots__ = ()

    def __repr__(self) -> str:
        return masked_size(self)

    @overload
    def __getitem__(self, key: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> "MaskedBytes": ...
    def __getitem__(self, key: SupportsIndex | slice) -> "int | MaskedBytes":
        found = super().__getitem__(key)
        return MaskedBytes(found) if isinstance(found, bytes) else found


class MaskedBuffer(bytearray):
    """Bytes that are being collected, shown by their number."""

    def __repr__(self) -> str:
        return masked_size(bytes(self))


class MaskedDict(dict[str, Any]):
    """A document that holds secrets, shown by its keys."""

    def __repr__(self) -> str:
        return masked_values(self)
