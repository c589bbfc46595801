"""Masking of secrets in every way in which an object can be shown.

Error trackers render the frames of a traceback with their locals. A frame that can raise holds raw secrets in a masked
type of this module, and a tracker finds nothing secret in it, whichever way it looks:

- `repr` of a value: `logging`, `traceback` with ``capture_locals``, rich, structlog, `pprint`. It is masked.
- ``__sentry_repr__``: Sentry asks for it before it looks at a value itself. Without it, Sentry shows text and bytes raw
  in ``extra`` and in breadcrumbs, and walks every `Mapping` by its items.
- The items of a mapping or a list, besides its `repr`: `items`, `values` and iteration of the masked containers give
  masked values, of any depth. `document["key"]`, `get`, ``**document`` and C code (orjson) get the values as they are.
  A masked value equals the value that it masks, so code that walks such a container is still right.

A masked document stays a `dict`, because orjson and aiohttp read dicts in C, at no cost; the masks are made only for
code that walks it. `MaskedStr` stays a `str` for the same reason: a tracker that shows the characters of every string,
without `repr`, would show it. The trackers that the tests ask do not.

A function that checks what a caller passed has raw secrets in its frame before it can mask them: `hides_locals` takes
that frame out of the traceback.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, SupportsIndex, TypeVar, overload

if TYPE_CHECKING:
    from _collections_abc import dict_items, dict_values

_P = ParamSpec("_P")
_T = TypeVar("_T")

MASK = "'***'"

# Shorter strings occur in ordinary prose; blotting those out would ruin a message and hide nothing.
_SHORTEST_SECRET = 4
# What lies deeper in a server's JSON is not looked through, and so not shown.
_DEEPEST = 50


def masked(value: object) -> str:
    """A `repr` that tells only whether there is a value (for ``attrs.field(repr=masked)``)."""
    return "None" if value is None else MASK


def masked_size(value: bytes | bytearray) -> str:
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


def hides_locals(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """`function`, whose errors have no frame with its arguments or locals in their traceback.

    For functions that refuse bad arguments: the caller knows where it passed them, and the error says what is wrong.
    """

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - it is raised again
            refusal = error.with_traceback(None)
        del args, kwargs
        try:
            raise refusal
        finally:
            del refusal  # it refers to this frame

    return call


class MaskedStr(str):
    """Text that shows itself masked."""

    __slots__ = ()

    def __repr__(self) -> str:
        return MASK

    __sentry_repr__ = __repr__

    def __getitem__(self, key: SupportsIndex | slice) -> "MaskedStr":
        # Renderers cut long text before they show it: a part of a secret is one too.
        return MaskedStr(super().__getitem__(key))


class MaskedBytes(bytes):
    """Bytes that show themselves by their number."""

    __slots__ = ()

    def __repr__(self) -> str:
        return masked_size(self)

    __sentry_repr__ = __repr__

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
        return masked_size(self)

    __sentry_repr__ = __repr__

    @overload
    def __getitem__(self, key: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> "MaskedBuffer": ...
    def __getitem__(self, key: SupportsIndex | slice) -> "int | MaskedBuffer":
        found = super().__getitem__(key)
        return MaskedBuffer(found) if isinstance(found, bytearray) else found


class MaskedDict(dict[str, Any]):
    """A document that holds secrets, shown by its keys. Code that walks it finds masked values."""

    def __repr__(self) -> str:
        return masked_values(self)

    __sentry_repr__ = __repr__

    def items(self) -> "dict_items[str, Any]":
        """Its keys with masked values."""
        return self._walked().items()

    def values(self) -> "dict_values[str, Any]":
        """Its values, masked."""
        return self._walked().values()

    def copy(self) -> "MaskedDict":
        """A copy that masks itself too."""
        return MaskedDict(self)

    def _walked(self) -> dict[str, Any]:
        # Most values are text: not to ask `concealed` for these halves the time.
        return {key: MaskedStr(value) if type(value) is str else concealed(value) for key, value in super().items()}


class MaskedList(list[Any]):
    """A list that holds secrets, shown by its length. Code that walks it finds masked values."""

    def __repr__(self) -> str:
        return f"<{len(self)} items>"

    __sentry_repr__ = __repr__

    def __iter__(self) -> Iterator[Any]:
        return map(concealed, super().__iter__())

    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        found = super().__getitem__(key)
        return MaskedList(found) if isinstance(key, slice) else found


def concealed(value: Any) -> Any:
    """`value`, or where it is text, bytes or a container: one that equals it and masks itself."""
    mask = _MASKS.get(type(value))
    return value if mask is None else mask(value)


_MASKS: Mapping[type, Callable[[Any], Any]] = {
    str: MaskedStr,
    bytes: MaskedBytes,
    bytearray: MaskedBuffer,
    dict: MaskedDict,
    list: MaskedList,
    tuple: lambda value: tuple(map(concealed, value)),
}
