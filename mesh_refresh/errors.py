"""The errors. Each says what happened, whether a token may be spent, and what to do, in that order.

::

    MeshRefreshError
    ├── InvalidRequest              wrong before any I/O (also a ValueError)
    ├── NotSent                     nothing left this machine                          retryable
    ├── OutcomeUnknown              sent, with an unknown outcome
    │   ├── ServerFailure           Mesh failed, perhaps after the broker rotated
    │   └── UnreadableReply         answered, but not in a form that can be read      (outcomes.py)
    ├── TokensRefused               the person must log in again                       needs_reconnect
    ├── CodeRefused                 a wrong MFA code; the continuation is still good  (outcomes.py)
    ├── RequestRejected             we built it wrong, the contract moved, or a proxy spoke
    ├── ClientRefused               the client id or secret is wrong
    ├── PermissionDenied
    ├── NotFound
    ├── UnavailableForLegalReasons
    ├── Conflict                                                                       retryable
    ├── Locked                                                                         retryable
    ├── Throttled                                                                      retryable
    ├── Unavailable                                                                    retryable
    ├── RedirectRefused             an answer pointed elsewhere; never followed
    ├── MfaPending                  a code is needed first                            (outcomes.py)
    ├── AccountNotInReply           renewed, but not the account asked for            (outcomes.py)
    └── NotSaved                    a live token reached no `on_outcome`              (outcomes.py)

Those that carry an outcome live beside the outcomes, so that imports go one way only.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Self

from attrs import field, frozen

from mesh_refresh.enums import ApiStatus

_LONGEST_QUOTE = 300
_MOST_IDS = 2


@frozen
class ReplyFacts:
    """What the reply's envelope said; everything is None where there was no envelope."""

    http_status: int | None = None
    status: ApiStatus | str | None = None
    error_type: str | None = None
    error_hash: str | None = None
    team_code: str | None = None
    message: str | None = None
    display_message: str | None = None
    error_data: object = field(default=None, repr=False)
    request_ids: Mapping[str, str] = field(factory=dict, repr=False, hash=False)
    """What identifies the request for Mesh's support, by the header's name."""

    def __str__(self) -> str:
        parts = [f"HTTP {self.http_status}"] if self.http_status is not None else []
        parts += [f"status {self.status[:_LONGEST_QUOTE]}"] if self.status else []
        parts += [f"errorType {self.error_type[:_LONGEST_QUOTE]}"] if self.error_type else []
        parts += [f"errorHash {self.error_hash[:_LONGEST_QUOTE]}"] if self.error_hash else []
        parts += [f'message "{self.message[:_LONGEST_QUOTE]}"'] if self.message else []
        parts += [f"{name} {value}" for name, value in self.request_ids.items() if name != "Date"][:_MOST_IDS]
        return ", ".join(parts)


class MeshRefreshError(Exception):
    """The root of everything this package raises on purpose.

    The text says what happened, whether a token may be spent, and what to do next. It never has a secret in it. Neither
    has a pickle of the error: attributes that carry tokens (`pending`, `outcome`, `body`, `before`) are left out.
    """

    retryable: ClassVar[bool] = False
    """The same tokens may safely be sent again, and that may help."""
    needs_reconnect: ClassVar[bool] = False
    """Only the person logging in at the broker again will help."""
    token_may_be_spent: ClassVar[bool] = False
    """The refresh token that was sent may have been used up by this exchange."""

    _what: ClassVar[str] = "Something went wrong."
    _next: ClassVar[str] = ""
    _carriers: ClassVar[tuple[str, ...]] = ()

    def __init__(self, what: str | None = None, *, facts: ReplyFacts | None = None) -> None:
        self.facts = facts or ReplyFacts()
        quoted = f" [{self.facts}]" if facts is not None and str(facts) else ""
        super().__init__(" ".join(part for part in (what or self._what, self._next) if part) + quoted)

    @property
    def http_status(self) -> int | None:
        """The HTTP status code of the reply."""
        return self.facts.http_status

    @property
    def status(self) -> ApiStatus | str | None:
        """The envelope's ``status``."""
        return self.facts.status

    @property
    def error_type(self) -> str | None:
        """The envelope's ``errorType``."""
        return self.facts.error_type

    @property
    def error_hash(self) -> str | None:
        """The envelope's ``errorHash``: quote it to Mesh's support."""
        return self.facts.error_hash

    @property
    def request_ids(self) -> Mapping[str, str]:
        """The reply's headers that identify the request, such as ``X-Request-Id``: quote them to Mesh's support."""
        return self.facts.request_ids

    @property
    def team_code(self) -> str | None:
        """The envelope's ``teamCode``: whom at Mesh to ask."""
        return self.facts.team_code

    @property
    def message(self) -> str | None:
        """The envelope's ``message``, for developers."""
        return self.facts.message

    @property
    def display_message(self) -> str | None:
        """The envelope's ``displayMessage``, which may be shown to the person."""
        return self.facts.display_message

    @property
    def error_data(self) -> object:
        """The envelope's ``errorData``, of any shape."""
        return self.facts.error_data

    def for_another(self) -> Self:
        """A copy of the error. Callers that share an exchange must not share a traceback."""
        other = type(self).__new__(type(self), *self.args)
        other.__dict__.update(self.__dict__)
        other.args = self.args
        other.__cause__ = self.__cause__
        return other

    def __copy__(self) -> Self:
        return self.for_another()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.for_another()

    def __reduce__(self) -> tuple[Any, ...]:
        state = {key: value for key, value in self.__dict__.items() if key not in self._carriers}
        state.update(dict.fromkeys(self._carriers))
        return _unpickled, (type(self), self.args, state)


def _unpickled(cls: type[MeshRefreshError], args: tuple[Any, ...], state: dict[str, Any]) -> MeshRefreshError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidRequest(MeshRefreshError, ValueError):
    """The arguments are wrong, which was found before anything was sent. No token is spent."""

    _what = "The request is not valid; nothing was sent."


class NotSent(MeshRefreshError):
    """Nothing was sent: no connection, TLS failed, no address for the name, or no free connection in time.

    No token is spent.
    """

    retryable = True
    _what = "The request was not sent."
    _next = "No token is spent; the same tokens can be sent again."


class OutcomeUnknown(MeshRefreshError):
    """The request was sent, and its outcome is not known: the broker may have rotated the token.

    Sending the same refresh token again may be refused, and some brokers revoke the whole login for it.
    """

    token_may_be_spent = True
    _what = "The request was sent, but no answer came back."
    _next = (
        "The refresh token may be spent. Keep the old tokens, wait until Mesh must have finished, then try once more; "
        "if that is refused, the person must log in again."
    )


class ServerFailure(OutcomeUnknown):
    """Mesh failed while it worked on the request (5xx, 408, ``serverFailure``), perhaps after the broker rotated."""

    _what = "Mesh failed while working on the request."


class TokensRefused(MeshRefreshError):
    """Mesh or the broker does not accept these tokens."""

    needs_reconnect = True
    _what = "The tokens were refused."
    _next = "They are expired, revoked or already used: the person must log in at the broker again."


class RequestRejected(MeshRefreshError):
    """The request as such was not accepted: it was built wrongly, the contract moved, or a proxy answered."""

    _what = "The request was rejected as such, without a word on the tokens."
    _next = (
        "They are not known to be spent. Check the base URL and what stands between you and Mesh, "
        "and update mesh_refresh."
    )


class ClientRefused(MeshRefreshError):
    """401: the client id or the client secret is wrong. A bad broker token is a `TokensRefused`, never this."""

    _what = "Mesh does not accept the client id and secret."
    _next = "No token is spent. Check the keys, and that they belong to this environment (sandbox or production)."


class PermissionDenied(MeshRefreshError):
    """403 or ``permissionDenied``: the keys lack a permission."""

    _what = "The client keys are not permitted to do this."
    _next = "No token is spent. Ask Mesh for the permission."


class NotFound(MeshRefreshError):
    """404 or ``notFound``."""

    _what = "Mesh did not find what was asked for."
    _next = "No token is known to be spent. Check the base URL and the broker type."


class UnavailableForLegalReasons(MeshRefreshError):
    """451 or ``unavailableForLegalReasons``."""

    _what = "Mesh may not serve this request for legal reasons."
    _next = "No token is known to be spent. Ask Mesh why."


class Conflict(MeshRefreshError):
    """409 or ``conflict``: something else is at work on the same thing."""

    retryable = True
    _what = "Mesh is at work on the same thing already."
    _next = "No token is spent by this request; it can be sent again."


class Locked(MeshRefreshError):
    """423 or ``locked``."""

    retryable = True
    _what = "The account is locked for the moment."
    _next = "No token is spent; the request can be sent again."


class _Pausing(MeshRefreshError):
    retryable = True

    def __init__(
        self, what: str | None = None, *, facts: ReplyFacts | None = None, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(what, facts=facts)
        self.retry_after = retry_after
        """How long Mesh asked to wait, counted from its answer; None where it did not say."""


class Throttled(_Pausing):
    """429 or ``tooManyRequest``. `retry_after` says for how long, where Mesh did."""

    _what = "Mesh asks to slow down."
    _next = "No token is spent; the request can be sent again later."


class Unavailable(_Pausing):
    """503 from Mesh itself. `retry_after` says for how long, where Mesh did."""

    _what = "Mesh is not available at the moment."
    _next = "No token is spent; the request can be sent again later."


class RedirectRefused(MeshRefreshError):
    """3xx: the answer pointed elsewhere. It is never followed, because the secrets would go with it."""

    _what = "The server answered with a redirect, which is never followed."
    _next = "No token is known to be spent. Check the base URL."
