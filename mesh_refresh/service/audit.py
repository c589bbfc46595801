"""The audit: a line for each change, and for each answer with tokens."""

import logging
from urllib.parse import quote

from mesh_refresh.service.access.caller import Caller

_log = logging.getLogger("mesh_refresh.audit")

_PLAIN = "@:+,;!*'()[]"
"""What need not be escaped, besides letters, digits and ``_.-~``: no blank, no ``=``, nothing invisible."""


def audit(
    caller: Caller, verb: str, outcome: str, *, login: str | None = None, account: str | None = None, **facts: object
) -> None:
    """Write a line of the audit, at INFO, to the logger ``mesh_refresh.audit``.

    Args:
        caller: who did it.
        verb: what was done, such as ``tokens`` or ``mfa``: a word.
        outcome: ``done``, ``unchanged``, or the reason of the error, such as ``unknown_login``.
        login: the id of the login. It is escaped as in a URL, so that no id can look like another field or line.
        account: the id of the account, likewise.
        facts: what else is worth to know, and no secret: ``broker``, ``credential="access token"``.
    """
    known = {"login": login, "account": account, **facts}
    _log.info(
        "audit",
        extra={
            "key": caller.key,
            "verb": verb,
            "outcome": outcome,
            **{
                name: quote(str(value), safe=_PLAIN, errors="backslashreplace")
                for name, value in known.items()
                if value is not None
            },
            "request": caller.request_id,
            "address": caller.address,
        },
    )
