"""Refuses, before any I/O, what no store can keep."""

from collections.abc import Iterable
from datetime import datetime

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.stores.outbox import NoticeRow
from mesh_refresh.stores.row import Row


def check_text(*texts: str | None) -> None:
    """Raises `InvalidRequest` for text that no database can keep. The error does not show it."""
    for text in texts:
        try:
            if text is not None and not text.isascii():
                text.encode()
        except UnicodeEncodeError:
            break
    else:
        return
    raise InvalidRequest("This is not Unicode text: it holds a lone surrogate, which cannot be stored.")


def check_time(*times: datetime | None) -> None:
    """Raises `InvalidRequest` for a time without a zone."""
    for time in times:
        if time is not None and time.tzinfo is None:
            raise InvalidRequest("A store needs aware times, such as datetime.now(UTC).")


def check_row(row: Row) -> None:
    """Raises `InvalidRequest` for a row that cannot be kept."""
    if not (row.login_id + row.broker + row.epoch).isascii():  # one look at all of them: nearly every row passes it
        check_text(row.login_id, row.broker, row.epoch)
    check_time(row.due_at, row.expires_at, row.changed_at)
    if not isinstance(row.sealed, bytes):
        raise InvalidRequest("What is sealed must be bytes.")


def check_notices(notices: Iterable[NoticeRow], login_id: str | None = None) -> None:
    """Raises `InvalidRequest` for a notice that cannot be kept, or is about another login than `login_id`."""
    for notice in notices:
        check_text(notice.id, notice.login_id)
        check_time(notice.due_at, notice.written_at, notice.first_tried_at)
        if not isinstance(notice.sealed, bytes):
            raise InvalidRequest("What is sealed must be bytes.")
        if login_id is not None and notice.login_id != login_id:
            raise InvalidRequest("A notice must be about the login that it is written with.")


def check_cipher(store: str, cipher: object) -> None:
    """Raises `InvalidRequest` for an object that cannot seal and open."""
    if not callable(getattr(cipher, "seal", None)) or not callable(getattr(cipher, "open", None)):
        raise InvalidRequest(f"{store} needs cipher=Cipher([key]), or PlainText() to seal nothing.")
