"""The exit codes, their meanings, and the code for each error.

Of 2 to 11 a higher code is worse: where several apply, a command ends with the highest.
"""

from enum import IntEnum
from textwrap import fill

from mesh_refresh import (
    AccountNotInReply,
    ClientRefused,
    CodeRefused,
    InvalidRequest,
    MeshRefreshError,
    MfaPending,
    NotSaved,
    OutcomeUnknown,
    PermissionDenied,
    TokensRefused,
    UnreadableReply,
)
from mesh_refresh.stores.errors import StoreError, StoreRefused

_WIDTH = 76
"""Of a line of a help page, which click indents."""


class Exit(IntEnum):
    """How a command ended. 2 to 11 are outcomes, from the least to the most serious."""

    REFRESHED = 0
    FAILED = 1
    INVALID = 2
    TRY_AGAIN = 3
    CODE_NEEDED = 4
    KEYS_REFUSED = 5
    REJECTED = 6
    RECONNECT = 7
    UNKNOWN = 8
    NOT_IN_REPLY = 9
    UNREADABLE = 10
    NOT_SAVED = 11
    STORE = 12
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


REFRESH, RUN, COPY = "refresh", "run", "copy"
"""The commands whose help pages list the exit codes."""

MEANINGS: dict[Exit, dict[str, str]] = {
    Exit.REFRESHED: {
        REFRESH: "every account was refreshed",
        RUN: "the worker was stopped in order; with --once: all that was due was refreshed",
        COPY: "nothing is left to move",
    },
    Exit.FAILED: dict.fromkeys((REFRESH, RUN, COPY), "a bug in mesh-refresh; new tokens are written all the same"),
    Exit.INVALID: {
        REFRESH: "nothing was sent: the command line, the input, the keys or --output cannot be used",
        RUN: "nothing was sent: the command line, the keys or the name of the store cannot be used",
        COPY: "nothing was moved: the command line, a key or the name of a store cannot be used",
    },
    Exit.TRY_AGAIN: {
        REFRESH: "throttled, unavailable, locked or not connected; no token was spent: run it again later",
        RUN: "something is still due, or the store is not available: run it again later",
        COPY: "something is left to move (--no-wait), or a store is not available: run it again later",
    },
    Exit.CODE_NEEDED: {
        REFRESH: "an MFA code is needed; the output holds the continuation: run it again with that",
        RUN: "a broker wants an MFA code: mesh-refresh mfa LOGIN",
    },
    Exit.KEYS_REFUSED: dict.fromkeys(
        (REFRESH, RUN), "Mesh refuses the client id and secret, or they lack a permission"
    ),
    Exit.REJECTED: {
        REFRESH: "an account cannot be sent, or Mesh rejects the request: check the base URL and proxies, or update",
        RUN: "Mesh rejects the request: check the base URL and proxies, or update mesh-refresh",
    },
    Exit.RECONNECT: dict.fromkeys((REFRESH, RUN), "tokens were refused for good: the person must log in again"),
    Exit.UNKNOWN: {REFRESH: "sent, with an unknown outcome: wait a minute, then run it once more"},
    Exit.NOT_IN_REPLY: {REFRESH: "the reply renewed other accounts of the login, not the one asked for, or names none"},
    Exit.UNREADABLE: {
        REFRESH: "the reply cannot be read and may hold a token: its body is in a file of its own",
        RUN: "a reply cannot be read and may hold a token: mesh-refresh salvage LOGIN",
    },
    Exit.NOT_SAVED: {
        REFRESH: "--output does not take the new tokens; the last message says where they are",
        RUN: "the store does not take the new tokens; they are in the spool, and the next start stores them",
    },
    Exit.STORE: {
        RUN: "the store cannot be opened or read: check its key, password, permissions and tables",
        COPY: (
            "a store cannot be opened, or a login cannot be read: check keys, password, permissions and tables; "
            "or logins went to another store than TO before; with --take-back: TO holds logins, which stay there"
        ),
    },
    Exit.INTERRUPTED: {
        REFRESH: "Ctrl-C (129: SIGHUP; 143: SIGTERM); the results of what was sent are written",
        RUN: "Ctrl-C (129: SIGHUP; 143: SIGTERM) with --once or while the store was opened; results are written",
        COPY: "Ctrl-C (129: SIGHUP; 143: SIGTERM), or the answer was no; logins already begun are moved",
    },
}
"""What each code means, by command. ``docs/command-line.md`` has the same table in more words."""

# The first that matches counts: subclasses stand before their bases.
_BY_ERROR: tuple[tuple[type[MeshRefreshError], Exit], ...] = (
    (InvalidRequest, Exit.INVALID),
    (NotSaved, Exit.NOT_SAVED),
    (AccountNotInReply, Exit.NOT_IN_REPLY),
    (OutcomeUnknown, Exit.UNKNOWN),
    (TokensRefused, Exit.RECONNECT),
    (CodeRefused, Exit.CODE_NEEDED),
    (MfaPending, Exit.CODE_NEEDED),
    (ClientRefused, Exit.KEYS_REFUSED),
    (PermissionDenied, Exit.KEYS_REFUSED),
)


def exit_for(error: MeshRefreshError) -> Exit:
    """The exit code for `error`."""
    if isinstance(error, UnreadableReply) and error.may_hold_token:
        return Exit.UNREADABLE
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code
    if error.needs_reconnect:
        return Exit.RECONNECT
    if isinstance(error, LookupError):
        return Exit.INVALID  # an unknown login, or one of several accounts has to be named
    if isinstance(error, StoreRefused) or (isinstance(error, StoreError) and not error.retryable):
        return Exit.STORE  # repeating the command does not help: an operator has to look
    return Exit.TRY_AGAIN if error.retryable else Exit.REJECTED


def list_exits(command: str) -> str:
    """The exit codes of `command` with their meanings, one a line, for its help page."""
    lines = (f"  {code:>3}  {MEANINGS[code][command]}" for code in MEANINGS if command in MEANINGS[code])
    return "".join(fill(line, _WIDTH, subsequent_indent=" " * 7) + "\n" for line in lines)


def worst(codes: list[Exit]) -> Exit:
    """The highest of `codes`, with which a command ends; 0 for none."""
    return max(codes, default=Exit.REFRESHED)


def code_of_refresh(codes: list[Exit], *, any_sent: bool) -> Exit:
    """The exit code of ``refresh`` for accounts with these codes.

    2 says that nothing was sent. Once a request was sent, an account that cannot be sent counts as rejected (6).
    """
    return worst([Exit.REJECTED if any_sent and code is Exit.INVALID else code for code in codes])
