"""What the tests of strategies are made of."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from attrs import evolve

from mesh_refresh.codec import decode_reply
from mesh_refresh.enums import BrokerType
from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.messages import HttpReply, RefreshRequest, Reply
from mesh_refresh.protocols import RefreshOptions, Strategy
from mesh_refresh.replies.outcomes import MfaRequired, Refreshed
from mesh_refresh.tokens import Tokens

_E = TypeVar("_E", bound=BaseException)
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
REFRESH = "  old|refresh/#%20+=\t\N{SNOWMAN} "
METADATA = {"key": "old-metadata", "blank": "", "none": None}


class StrategyKit:
    """How a strategy is made, and short names for what the tests do with one."""

    broker: BrokerType | str = BrokerType.COINBASE
    """Whose strategy it is."""

    def make_strategy(self) -> Strategy:
        """A new strategy, each time equal to the last."""
        raise NotImplementedError("Give your test class a make_strategy that returns your strategy.")

    def make_tokens(self) -> Tokens:
        """Tokens with all that any broker wants; override it where yours wants more."""
        return Tokens(
            self.broker,
            REFRESH,
            access_token="old-access",
            trade_token="old-trade",
            metadata=METADATA,
            account_id="acc-1",
            ref="user-7",
            obtained_at=AT - timedelta(hours=1),
        )

    def _request(self) -> RefreshRequest:
        return self.make_strategy().build(self.make_tokens(), RefreshOptions())

    def _interpret(self, reply: Reply, **changes: Any) -> Refreshed | MfaRequired:
        """What the strategy makes of `reply`. `changes`: to the tokens that were sent."""
        tokens = evolve_tokens(self.make_tokens(), **changes)
        strategy = self.make_strategy()
        return strategy.interpret(strategy.build(tokens, RefreshOptions()), tokens, reply, AT)

    def _refreshed(self, *entries: dict[str, Any], **content: Any) -> Refreshed:
        return self._success_of(success(brokerAccountTokens=list(entries), **content))

    def _success_of(self, reply: Reply) -> Refreshed:
        """What the strategy makes of `reply`, which has a new token and must be taken."""
        try:
            outcome: object = self._interpret(reply)
        except MeshRefreshError as error:
            outcome = error
        assert isinstance(outcome, Refreshed), f"a success with tokens is {outcome!r}: {reply.body[:120]!r}"
        return outcome

    def _asked(self, *entries: dict[str, Any], **given: Any) -> MfaRequired:
        outcome = self._interpret(content(status="mfaRequired", brokerAccountTokens=list(entries)), **given)
        assert isinstance(outcome, MfaRequired), f"mfaRequired is {type(outcome).__name__}"
        return outcome

    def _pending(self, **entry: str) -> MfaRequired:
        return self._asked({"accessToken": "mfa-access", **entry})


def evolve_tokens(tokens: Tokens, **changes: Any) -> Tokens:
    """`tokens` with some of their fields changed."""
    return evolve(tokens, **changes)


def entry(account_id: str | None, access_token: str | None = None, refresh_token: str | None = None) -> dict[str, Any]:
    """An entry of a reply; what is None is left out."""
    tokens = {"accessToken": access_token, "refreshToken": refresh_token}
    named = {} if account_id is None else {"account": {"accountId": account_id}}
    return {**named, **{name: value for name, value in tokens.items() if value is not None}}


def content(**parts: object) -> Reply:
    """HTTP 200 with this content."""
    return enveloped("ok", parts)


def enveloped(status: str, parts: object, code: int = 200, **envelope: object) -> Reply:
    """A reply with Mesh's envelope."""
    body = json.dumps({"status": status, "content": parts, **envelope}).encode()
    return decode_reply(HttpReply(code, {"Content-Type": "application/json"}, body), at=AT)


def success(**parts: object) -> Reply:
    """HTTP 200, succeeded, with this content."""
    return content(status="succeeded", **parts)


def raised(call: Callable[[], object]) -> BaseException | None:
    """What `call` raises, or None."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - which one it is, the test says
        return error
    return None


def raises(kind: type[_E], call: Callable[[], object]) -> _E:
    """The error that a call raises, which must be of this kind."""
    error = raised(call)
    assert isinstance(error, kind), f"{kind.__name__} was to be raised, not {error!r}"
    return error


def shown(thing: object, secrets: tuple[str, ...]) -> bool:
    """Whether any of `secrets` is to be seen in `thing`."""
    text = f"{thing!r} {thing}"
    return any(secret in text or repr(secret)[1:-1] in text for secret in secrets)
