"""What the exit codes mean. Of 2 to 11 a higher one is worse: where several fit, it counts."""

from enum import IntEnum

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


class Exit(IntEnum):
    """The codes of 2 to 11 are outcomes, in the order of how bad they are."""

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


_OF_BOTH: dict[Exit, str] = {
    Exit.FAILED: "a bug in mesh-refresh; what was renewed is written all the same",
    Exit.KEYS_REFUSED: "Mesh refuses the keys, or they lack a permission",
    Exit.REJECTED: "the request was rejected as such: look at the base URL, a proxy, or update mesh-refresh",
}

MEANINGS: dict[Exit, str] = {
    **_OF_BOTH,
    Exit.REFRESHED: "refreshed, all of them",
    Exit.INVALID: "nothing was sent: the command line, the input, the keys or --output cannot be used",
    Exit.TRY_AGAIN: "throttled, unavailable, locked or not connected; its tokens are not spent, run it again later",
    Exit.REJECTED: "it cannot be sent, or the request was rejected as such: look at the base URL, a proxy, or update",
    Exit.CODE_NEEDED: "an MFA code is needed; the output holds the continuation, run it again with that",
    Exit.RECONNECT: "the tokens were refused: the person must log in at the broker again",
    Exit.UNKNOWN: "sent, and what came of it is not known: wait a minute, then run it once more",
    Exit.NOT_IN_REPLY: "the reply renewed other accounts of the login, not the one asked for, or names none of several",
    Exit.UNREADABLE: "the reply cannot be read and may hold a token: its body is in a file of its own",
    Exit.NOT_SAVED: "the new tokens could not be written to --output; the message says where they are",
    Exit.INTERRUPTED: "Ctrl-C (129: the terminal went away; 143: SIGTERM); what was under way is finished and written",
}
"""Of ``refresh``."""

WORKER_EXITS: dict[Exit, str] = {
    **_OF_BOTH,
    Exit.REFRESHED: "ended in order; with --once: all that was due is refreshed",
    Exit.INVALID: "nothing was done: the command line, the keys or the name of the store will not do",
    Exit.TRY_AGAIN: "something is still due, or the store cannot be used now: run it again later",
    Exit.CODE_NEEDED: "a broker wants a code: mesh-refresh mfa LOGIN",
    Exit.RECONNECT: "tokens were refused for good: the person must log in again",
    Exit.UNREADABLE: "a reply cannot be read, and may hold a token: mesh-refresh salvage LOGIN",
    Exit.NOT_SAVED: "the store did not take new tokens: they are in the spool, which the next start takes up",
    Exit.STORE: "the store cannot be opened or read: look at its key, password, rights and tables",
    Exit.INTERRUPTED: "Ctrl-C (129: SIGHUP; 143: SIGTERM) with --once, or at the opening; what was sent is written",
}
"""Of ``run``."""

OF_A_COPY: dict[Exit, str] = {
    Exit.REFRESHED: "nothing is left to move; what is in TO no more is named",
    Exit.FAILED: _OF_BOTH[Exit.FAILED],
    Exit.INVALID: "nothing was done: the command line, a key or the name of a store will not do",
    Exit.TRY_AGAIN: "something is left (--no-wait), or a store cannot be used now: run it again later",
    Exit.STORE: (
        "a store cannot be opened, or a login in it cannot be read: look at keys, password, rights and tables;\n"
        "       or logins went to another store than TO before; with --take-back: TO holds logins, which it keeps"
    ),
    Exit.INTERRUPTED: "Ctrl-C (129: SIGHUP; 143: SIGTERM), or the answer was no; what was begun is moved, run it again",
}
"""Of ``copy``."""

# The first that fits: subclasses stand before their bases.
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
    """The exit code that tells of `error`."""
    if isinstance(error, UnreadableReply) and error.may_hold_token:
        return Exit.UNREADABLE
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code
    if error.needs_reconnect:
        return Exit.RECONNECT
    if isinstance(error, LookupError):
        return Exit.INVALID  # there is no such login, or it was not said which of its accounts is meant
    if isinstance(error, StoreRefused) or (isinstance(error, StoreError) and not error.retryable):
        return Exit.STORE  # only somebody who looks at it can help
    return Exit.TRY_AGAIN if error.retryable else Exit.REJECTED


def listed(meanings: dict[Exit, str]) -> str:
    """As a help page has them, a line each."""
    return "".join(f"  {code:>3}  {meanings[code]}\n" for code in sorted(meanings))


def worst(codes: list[Exit]) -> Exit:
    """The one to end with."""
    return max(codes, default=Exit.REFRESHED)


def code_of_run(codes: list[Exit], *, any_sent: bool) -> Exit:
    """The exit code of ``refresh``, whose accounts have these.

    2 says that nothing was sent. Where an account was sent, one that cannot be counts as rejected.
    """
    return worst([Exit.REJECTED if any_sent and code is Exit.INVALID else code for code in codes])
