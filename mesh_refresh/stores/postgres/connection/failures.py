"""What PostgreSQL says, as an error that tells what to do. Neither its messages nor any value gets into the text,
except the name of a thing that a role may not use.
"""

import errno
import re
import socket
from collections.abc import Mapping

from mesh_refresh.errors import InvalidRequest, MeshRefreshError
from mesh_refresh.stores.errors import StoreDamaged, StoreError, StoreRefused, StoreUnavailable

# By SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html), the whole of it or its beginning.
_POOLING = (
    "is there a transaction-pooling proxy before it? "
    "Open the store with ?transaction_pooling=yes in its URL, or with transaction_pooling=True."
)
_PROXY = f"has other statements than those that were prepared on it: {_POOLING}"
_REFUSED: Mapping[str, str] = {
    "26": _PROXY,
    "28": "refused the login: check the user, the password and pg_hba.conf.",
    "3D": "has no such database.",
    "42501": "does not let this role do that: docs/postgresql.md names under Rights what it needs.",
    "42P05": _PROXY,
}
_UNAVAILABLE: Mapping[str, str] = {
    "08": "lost the connection.",
    "08P01": f"did not understand what was sent: a setting in its URL, which PgBouncer does not take? Or {_POOLING}",
    "25006": "is read-only: is it a standby? Name the primary, or all of them and target_session_attrs=read-write.",
    "40": "undid the transaction again and again, because of others on the same rows.",
    "53100": "cannot write: its disk is full. Make room.",
    "53300": (
        "has no free connection: raise max_connections, or run fewer workers. Each takes up to 5; "
        "a program of yours takes fewer with connections=."
    ),
    "53": "lacks memory or another resource.",
    "55P03": "has the rows locked by another program.",
    "57P": "is being started, stopped or repaired, or an operator ended the connection.",
    "57014": "broke off the statement: statement_timeout is over, or an operator cancelled it.",
    "58": "met an error of its system: check its disk and its log.",
}
_DAMAGED: Mapping[str, str] = {
    "3F": "has no such schema any more.",
    "42P01": "lacks tables that its version has.",
    "42703": "lacks columns that its version has.",
    "XX001": "has pages that are damaged.",
    "XX002": "has an index that is damaged.",
}
_OBJECT = re.compile(r"permission denied for (?:schema|table|database|function|sequence) [\w$]{1,63}")
"""The one message of the server's that is shown: it is made of the name of a thing, where it is in English."""
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_TOO_LONG = "54000"
_LOCKED = "55P03"
_AGAIN = "40"
_LOST = ("08", "25006", "26", "42P05", "57P")


def state_of(error: BaseException) -> str:
    """The SQLSTATE; empty where it is no error of the server's."""
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else ""


def is_worth_again(error: BaseException) -> bool:
    """Whether the server undid the transaction only because of another one."""
    return state_of(error).startswith(_AGAIN)


def is_locked(error: BaseException) -> bool:
    """Whether another program held a lock for longer than `lock_timeout`."""
    return state_of(error) == _LOCKED


def is_of_tables(error: BaseException) -> bool:
    """Whether the tables, or what is in them, are not what the statements say."""
    state = state_of(error)
    return state.startswith(("3F", "42")) and state not in ("42501", "42P05")


def keeps_the_connection(error: BaseException) -> bool:
    """Whether the connection is as good as before."""
    state = state_of(error)
    return bool(state) and not state.startswith(_LOST)


def is_of_one_row(error: BaseException) -> bool:
    """Whether it may be the fault of one of the rows of a statement, so that the others are worth doing without it."""
    return state_of(error).startswith(("22", "23", "54"))


def failure(error: BaseException, shown: str) -> MeshRefreshError:
    """`error` for the caller, without the frames it came through: their locals have the password."""
    if isinstance(error, MeshRefreshError):
        return error.for_another()
    state = state_of(error)
    if state == _TOO_LONG:
        return InvalidRequest("A login id or a broker is too long for PostgreSQL: some 2,600 bytes are the most.")
    for known, kind in ((_REFUSED, StoreRefused), (_UNAVAILABLE, StoreUnavailable), (_DAMAGED, StoreDamaged)):
        for length in (5, 3, 2):
            if len(state) == 5 and (said := known.get(state[:length])) is not None:
                return kind(f"The store {shown} {said} (SQLSTATE {state}{_object(error)})")
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"The store {shown} did not answer in time. Is the server there, or overloaded?")
    if not state and isinstance(error, OSError | EOFError):
        return StoreUnavailable(f"The store {shown} cannot be reached{_way(error)}.")
    name = f"SQLSTATE {state}" if state else type(error).__name__
    # Without a state, it is the driver's own: a connection that was closed under it.
    return (StoreError if state else StoreUnavailable)(f"The store {shown} failed ({name}).")


def _object(error: BaseException) -> str:
    """What the role may not use."""
    said = _OBJECT.fullmatch(str(getattr(error, "message", "")))
    return f", {said[0]}" if said else ""


def _way(error: BaseException) -> str:
    """Where the way to the server ends."""
    if isinstance(error, socket.gaierror):
        return ": the name of its host is not known here"
    # Where a name has several addresses, asyncio gathers what came of each in one text.
    codes = set(_ERRNO.findall(str(error)))
    if isinstance(error, ConnectionRefusedError) or codes == {str(errno.ECONNREFUSED)}:
        return ": no server listens at its address and port"
    if isinstance(error, FileNotFoundError):
        return ": there is no socket of a server at its path and port"
    return f" ({type(error).__name__})"


def locked(shown: str) -> StoreUnavailable:
    """The error for a row that another program kept locked for too long."""
    return StoreUnavailable(f"The store {shown} {_UNAVAILABLE[_LOCKED]} (SQLSTATE {_LOCKED})")


def closed(shown: str) -> StoreUnavailable:
    """The error of a verb after the store was closed."""
    return StoreUnavailable(f"The store {shown} is not open: open it anew.")
