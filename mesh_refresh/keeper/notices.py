"""Notices: what a keeper tells an application until it is taken. See docs/notices.md.

A notice is written in one transaction with the change that it tells of, so a crash loses none. No notice has a secret.
"""

from collections.abc import Awaitable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, runtime_checkable

from attrs import evolve, frozen

from mesh_refresh import codec
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.logins import Reason
from mesh_refresh.masking import MaskedStr
from mesh_refresh.stores.errors import StoreDamaged
from mesh_refresh.stores.outbox import NoticeRow
from mesh_refresh.stores.sealing import Sealing, context_of_notice
from mesh_refresh.tokens import check_format

_DOCUMENT, _VERSION = "mesh_refresh.notice", 1


class NoticeKind(StrEnum):
    """What a notice tells of an account."""

    RECONNECT_REQUIRED = "reconnect_required"
    """The person must log in at the broker again: `reason`, `display_message`."""
    RECOVERED = "recovered"
    """What a notice before it said is over: the account works, because its tokens were good after all or the person has
    logged in anew."""
    MFA_NEEDED = "mfa_needed"
    """The broker wants a code: `pending_id`, `display_message`. Give the code to `Keeper.submit_mfa`."""
    MFA_DONE = "mfa_done"
    """The account that waited for a code works, and the code is wanted no more."""
    UNREADABLE = "unreadable"
    """A reply came that cannot be taken, and may hold the only live token: something for an operator."""
    RECONNECT_SOON = "reconnect_soon"
    """The refresh token ends at `ends_at`, and the broker gives no other: the person must log in before that."""
    ACCOUNT_JOINED = "account_joined"
    """A reply brought an account of the login that was not known."""


@frozen
class Notice:
    """Something that an application must learn of an account. It may come more than once, with the same `id`."""

    id: str
    """The same at each try, of ``A-Z a-z 0-9 _ -``."""
    kind: NoticeKind
    login_id: str
    account_id: str | None
    """The broker's id of the account, or Mesh's; None where neither is known."""
    broker: str
    at: datetime
    """When the change was written that it tells of."""
    sequence: int
    """Greater than that of each notice of this login before: of two, the greater one tells what is true now."""
    reason: Reason | None = None
    """Why the account is parked."""
    display_message: str | None = None
    """What Mesh suggests to show to the person, or why a reply was not taken. Others wrote it: escape it."""
    pending_id: str | None = None
    """The question that a code answers."""
    ends_at: datetime | None = None
    """Of `RECONNECT_SOON`: when the refresh token ends."""


class NoticeHandler(Protocol):
    """What `on_notice` takes: an async function. The notice is taken when it returns, and comes again where it raises.

    It is cancelled where it takes longer than four fifths of `Policy.lease`, and the notice comes again.
    """

    def __call__(self, notice: Notice, /) -> Awaitable[object]:
        """Handle `notice`."""
        ...


@runtime_checkable
class PacedHandler(NoticeHandler, Protocol):
    """A handler that says how many notices it can be given now, such as one that knows its receiver to be down.

    A notice that is not handed out stays as it is: it counts no try, and its time to be given up does not begin.
    """

    def capacity(self) -> int:
        """How many more notices it takes at this moment, beside those that it is at work on; zero or less: none.

        The keeper asks when it looks for notices: once in `Policy.poll`, and whenever a call has ended. A positive
        number is a question and no promise: there may be nothing to hand out.
        """
        ...


class TryNoticeAgain(Exception):
    """A handler raises it: the notice was not taken, and comes again no sooner than `after`.

    Without `after` the wait grows from try to try, as it does after any other exception. Each counts as a try. `why` is
    logged, so it must hold no secret.
    """

    def __init__(self, after: timedelta | None = None, why: str = "") -> None:
        if after is not None and not isinstance(after, timedelta):
            raise TypeError("TryNoticeAgain takes a timedelta")
        super().__init__(why or ("" if after is None else f"not before {after} from now"))
        self.after = after


class StopNotices(Exception):
    """A handler raises it: no notice can be taken until a person has acted, so this keeper hands out no more.

    The notices stay in the store, for other processes and for the next start. The keeper logs the reason as an error
    and `Keeper.health` names it, so it must hold no secret.
    """


def seal_notice(cipher: Sealing, notice: Notice) -> NoticeRow:
    """The row that keeps `notice`, due at once."""
    row = NoticeRow(notice.id, notice.login_id, notice.at, notice.at, b"")
    document = {
        "format": _DOCUMENT,
        "version": _VERSION,
        "kind": notice.kind,
        "account_id": notice.account_id,
        "broker": notice.broker,
        "at": notice.at,
        "sequence": notice.sequence,
        "reason": notice.reason,
        "display_message": notice.display_message,
        "pending_id": notice.pending_id,
        "ends_at": notice.ends_at,
    }
    return evolve(row, sealed=cipher.seal(MaskedStr(codec.dumps(document)), context_of_notice(row)))


def open_notice(cipher: Sealing, row: NoticeRow) -> Notice:
    """The notice that `row` keeps. Raises `WrongKey`, or `StoreDamaged` where it cannot be read."""
    try:
        document = codec.loads(cipher.open(row.sealed, context_of_notice(row)))
        if document is None:
            raise ValueError
        check_format(document, _DOCUMENT, _VERSION)
        return Notice(
            row.id,
            NoticeKind(document["kind"]),
            row.login_id,
            document["account_id"],
            document["broker"],
            datetime.fromisoformat(document["at"]),
            document["sequence"],
            Reason(document["reason"]) if document["reason"] else None,
            document["display_message"],
            document["pending_id"],
            datetime.fromisoformat(document["ends_at"]) if document["ends_at"] else None,
        )
    except (InvalidRequest, KeyError, TypeError, ValueError):
        raise StoreDamaged("A notice cannot be read: it is damaged, or a newer version wrote it.") from None
