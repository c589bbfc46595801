"""Writing documents for storage, and reading them again after a program has stored them in its own way.

Nothing here raises: a frame that raises shows its locals to error trackers, and these are secrets. A document that
cannot be read comes back as None, or as a sentence that says why.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from mesh_refresh.codec.plain import Wrong, instead, is_text, object_of
from mesh_refresh.masking import MaskedDict


def loads(text: object) -> MaskedDict | None:
    """The JSON object in `text`, or None where it is not the text of one."""
    found = read_document(text)
    return None if isinstance(found, str) else found


def read_document(text: object) -> MaskedDict | str:
    """The JSON object in `text`. Else a phrase that says what `text` is, such as "is empty"."""
    if not is_text(text):
        return instead(text, "not JSON text").why
    if isinstance(text, str | bytes | bytearray):
        try:
            # orjson takes no subclasses, such as text that masks itself.
            value = orjson.loads(str.__str__(text) if isinstance(text, str) else bytes(text))
        except orjson.JSONDecodeError:
            pass
        else:
            if type(value) is dict:
                return MaskedDict(value)
    return _said(object_of(text))


def read_mapping(document: object) -> MaskedDict | str:
    """The names and values of a mapping of any type. Else a phrase that says what `document` is."""
    if type(document) is dict and "format" in document:
        return _said(MaskedDict(document))
    if type(document) is MaskedDict:
        return _said(MaskedDict(document))
    if is_text(document):
        return "is text, and not a mapping"
    try:
        return _said(object_of(document))
    except Exception as error:  # noqa: BLE001 - a mapping of the caller's may raise anything, with secrets in its frames
        return f"cannot be read: its type raised {type(error).__name__}"


def _said(found: MaskedDict | Wrong | None) -> MaskedDict | str:
    if found is None:
        return "is empty"
    if isinstance(found, Wrong):
        return found.why
    return found


def repeated(document: Mapping[str, Any]) -> str | None:
    """The name of a key that stands twice in the JSON text, with different values; its value here is a `Wrong`."""
    return next((name for name in document if type(document[name]) is Wrong), None)


def dumps(value: Mapping[str, Any]) -> str:
    """`value` as JSON text."""
    return orjson.dumps(value).decode()
