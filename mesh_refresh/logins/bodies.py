"""Parts of documents: the fields of a value, and the body of a reply as text.

A body is compressed, because it may be of 16 MiB, and is sealed afterwards.
"""

import base64
import zlib

from attrs import AttrsInstance, fields

from mesh_refresh.masking import MaskedBytes, MaskedDict


def values_of(value: AttrsInstance) -> MaskedDict:
    """The fields of `value`, by their names."""
    return MaskedDict({field.name: getattr(value, field.name) for field in fields(type(value))})


def body_to_text(body: bytes) -> str:
    """`body`, compressed (zlib) and in base64."""
    # The fastest level: a large body must not hold up the event loop, and most of what there is to save is saved.
    return base64.b64encode(zlib.compress(body, zlib.Z_BEST_SPEED)).decode()


def body_from_text(text: str) -> MaskedBytes:
    """What `body_to_text` was given. Raises `ValueError` or `TypeError` for anything else."""
    compressed = MaskedBytes(base64.b64decode(text))
    del text
    try:
        return MaskedBytes(zlib.decompress(compressed))
    except zlib.error:
        pass
    raise ValueError
