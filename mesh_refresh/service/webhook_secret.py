"""The secret that webhooks are signed with, in the form of Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme
"""

import base64
import binascii
import secrets

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedBytes, hides_locals

_PREFIX = "whsec_"
_LEAST, _MOST, _DRAWN = 24, 64, 32
_MOST_SECRETS = 2
_WANTED = (
    f"It is {_PREFIX} and standard base64 of {_LEAST} to {_MOST} bytes, as `mesh-refresh webhooks secret` makes it. "
    "Two of them, with one blank between, both sign."
)


def generate_secret() -> str:
    """A new secret of 32 bytes, drawn at random."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_DRAWN)).decode()


@hides_locals
def read_secrets(text: object) -> tuple[bytes, ...]:
    """The keys in `text`. Raises `InvalidRequest`, without showing it, for what is not exactly one secret or two.

    The library of Standard Webhooks takes any text for a secret: an empty password would sign.
    """
    parts = text.split(" ") if isinstance(text, str) else []
    if not 1 <= len(parts) <= _MOST_SECRETS:
        raise InvalidRequest(f"The webhook secret is not one. {_WANTED}")
    return tuple(_read_secret(part) for part in parts)


def checked_secret(text: str) -> str:
    """`text` as it is. Raises `InvalidRequest` as `read_secrets` does."""
    read_secrets(text)
    return text


def _read_secret(text: str) -> bytes:
    encoded = text.removeprefix(_PREFIX)
    try:
        key = MaskedBytes(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError):
        key = MaskedBytes()
    # Written back, it must be the same: several texts decode to the same bytes.
    if encoded == text or base64.b64encode(key).decode() != encoded or not _LEAST <= len(key) <= _MOST:
        raise InvalidRequest(f"The webhook secret is not one. {_WANTED}")
    return key
