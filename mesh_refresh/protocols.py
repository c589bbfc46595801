"""The parts that a user can replace: the transport and the strategies."""

import inspect
from datetime import datetime
from typing import Protocol

from attrs import frozen

from mesh_refresh.blank import some
from mesh_refresh.messages import HttpReply, HttpRequest, RefreshRequest, Reply
from mesh_refresh.replies.outcomes import MfaRequired, Refreshed
from mesh_refresh.tokens import Tokens


@frozen
class RefreshOptions:
    """Options of one `refresh`, handed to the strategy."""

    create_new_refresh_token: bool | None = None
    """Renew the refresh token too (TD Ameritrade). None leaves the field out of the request."""


class Transport(Protocol):
    """One verb: a request goes out, a reply comes back.

    An implementation sends the request once and never again by itself, follows no redirect, reads at most
    `mesh_refresh.codec.BODY_LIMIT` bytes of body, and awaits ``request.before_send()`` before the first byte.
    It raises `NotSent` where not one byte went out. Every other error that it raises counts as an unknown outcome.
    A body that was cut short is a reply with ``complete=False`` and the part that came.
    """

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send `request` as one POST, and bring the reply."""
        ...

    async def aclose(self) -> None:
        """Let go of connections. The client calls it once, after the last exchange."""
        ...


class Strategy(Protocol):
    """How tokens of one broker are refreshed. Pure: no I/O, no clock, no randomness. Equal arguments, equal results."""

    def build(self, tokens: Tokens, options: RefreshOptions) -> RefreshRequest:
        """The request that refreshes `tokens`. Raises `InvalidRequest` where something is missing from them."""
        ...

    def build_mfa(self, pending: MfaRequired, code: str) -> RefreshRequest:
        """The second request, with the code. Raises `InvalidRequest` for an empty code."""
        ...

    def interpret(self, request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Refreshed | MfaRequired:
        """What `reply` to `request` means for the account of `tokens`; lifetimes count from `at`, when it was sent.

        Raises a `MeshRefreshError`, and nothing else, where the reply is no success.
        """
        ...

    def credential(self, tokens: Tokens) -> str | None:
        """What an exchange of `tokens` spends: the refresh token, for most brokers. None: they cannot be exchanged.

        Tokens with the same credential are never in two exchanges at once. The credential also tells which outcome is
        newer, and which accounts share a token.
        """
        ...

    def may_resend(self, request: RefreshRequest) -> bool:
        """Whether `request` may be sent again after an unknown outcome. Must be False for a request with a code."""
        ...


def credential_of(strategy: Strategy, tokens: Tokens) -> str | None:
    """What an exchange of `tokens` spends. Where `strategy` raises, has no such method, or gives no text:
    the refresh token.
    """
    try:
        found: object = strategy.credential(tokens)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - of a strategy of the user's: tokens must be kept and answered all the same
        return tokens.refresh_token
    if found is not None and not isinstance(found, str):
        if inspect.iscoroutine(found):
            found.close()  # it is awaited nowhere
        return tokens.refresh_token
    return some(found)


def allows_resending(strategy: Strategy, request: RefreshRequest) -> bool:
    """Whether `strategy` allows sending `request` again. False where it raises or returns anything but True."""
    try:
        found: object = strategy.may_resend(request)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - the same
        return False
    if inspect.iscoroutine(found):
        found.close()
    return found is True
