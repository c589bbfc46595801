"""A session of the page: a value that is sealed into a cookie, and the tokens that its forms carry. Told the time.

The store's cipher seals both, so every process of a fleet opens them, a restart ends none, and nothing of them is
stored. The page looks the key up at each request: a session ends with its key.
"""

import base64
import binascii
from datetime import datetime, timedelta

from attrs import evolve, frozen

from mesh_refresh import codec
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedStr
from mesh_refresh.stores import Sealing, StoreError

_CONTEXT = "session"
_IDLE, _LONGEST = timedelta(hours=12), timedelta(days=7)
_NOTED_EVERY = timedelta(minutes=5)
"""How exactly a session knows when it was used last: a cookie is set no more often."""
_SKEW = timedelta(minutes=2)
"""By which the clock of another process may be ahead."""


@frozen
class Session:
    """Who has logged in to the page, and when."""

    key_name: str
    """The name of the access key. Empty in the session of a login form, which opens nothing."""
    key_hash: str
    """A key that was revoked and made anew under its old name is another key."""
    begun_at: datetime
    used_at: datetime
    """When a person used it last: the page's own requests for live figures do not count."""
    process: str = ""
    """Of a session that a ticket began: the process that printed the ticket, the only one that accepts the session."""

    def is_over(self, now: datetime) -> bool:
        """Whether it has ended: after 12 hours without use, or after 7 days."""
        if self.begun_at > now + _SKEW:
            return True
        return now - self.used_at >= _IDLE or now - self.begun_at >= _LONGEST

    def used(self, now: datetime) -> "Session":
        """This session, used now: the same value within five minutes."""
        return evolve(self, used_at=now) if now - self.used_at >= _NOTED_EVERY else self


def seal_session(cipher: Sealing, session: Session) -> str:
    """The value of the cookie."""
    return _text_of(cipher.seal(MaskedStr(codec.write_value(session)), _CONTEXT))


def open_session(cipher: Sealing, cookie: str) -> Session | None:
    """The session in a cookie; None where the cookie was not sealed for a session, or by another key."""
    opened = _opened(cipher, cookie, _CONTEXT)
    return None if opened is None else codec.read_value(opened, Session)


def form_token(cipher: Sealing, session: Session) -> str:
    """What each form of `session` carries: a page of another site cannot know it. Each time it looks different."""
    return _text_of(cipher.seal("form", _form_context(session)))


def is_form_token(cipher: Sealing, session: Session, token: str) -> bool:
    """Whether `token` is of a form of `session`."""
    return _opened(cipher, token, _form_context(session)) == "form"


def _form_context(session: Session) -> str:
    return f"form:{session.begun_at.isoformat()}:{session.key_hash}:{session.process}:{session.key_name}"


def _text_of(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def _opened(cipher: Sealing, text: str, context: str) -> MaskedStr | None:
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return MaskedStr(cipher.open(sealed, context))
    except (binascii.Error, ValueError, InvalidRequest, StoreError):
        return None
