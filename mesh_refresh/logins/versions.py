"""The version of tokens: a text by which a caller can say which ones it had, without saying them. Pure."""

import hashlib
import re

from mesh_refresh.codec import dumps
from mesh_refresh.tokens import Tokens

_FORM = re.compile("[0-9a-f]{64}")


def version_of(login_id: str, tokens: Tokens) -> str:
    """SHA-256 of the login id, the account and the access token (or token id), in 64 hexadecimal digits.

    Each refresh gives another version, and nothing else does.
    """
    parts = [login_id, tokens.account_id or tokens.mesh_account_id, tokens.auth_token]
    return hashlib.sha256(dumps({"of": parts}).encode()).hexdigest()


def is_version(text: str) -> bool:
    """Whether `text` has the form of a version."""
    return _FORM.fullmatch(text) is not None
