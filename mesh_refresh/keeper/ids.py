"""Identifiers that were never used before."""

import secrets


def new_id() -> str:
    """128 random bits, in hexadecimal digits: an owner of leases, or an epoch of tokens."""
    return secrets.token_hex(16)
