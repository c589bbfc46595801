"""What users' code looks like to a type checker. Never run: mypy and pyright read it, and it pins the public types."""

import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, assert_never, assert_type

from aiohttp import ClientSession
from attrs import evolve

from mesh_refresh import (
    PRODUCTION_URL,
    SANDBOX_URL,
    AccountNotInReply,
    AiohttpTransport,
    ApiStatus,
    AuthStatus,
    BodyKind,
    BrokerAccount,
    BrokerAccountTokens,
    BrokerFiatBalance,
    BrokerRefreshTokenResponse,
    BrokerType,
    ClientRefused,
    Clock,
    CodeRefused,
    DefaultStrategy,
    HttpReply,
    HttpRequest,
    InvalidRequest,
    MeshClient,
    MeshRefreshError,
    MfaPending,
    MfaRequired,
    NotSaved,
    NotSent,
    Outcome,
    OutcomeUnknown,
    Refreshed,
    RefreshOptions,
    RefreshRequest,
    Reply,
    ReplyFacts,
    RetryPolicy,
    SendOptions,
    ServerFailure,
    Strategy,
    StrategyRegistry,
    SystemClock,
    Throttled,
    Tokens,
    TokensRefused,
    Transport,
    Unavailable,
    UnreadableReply,
    VanguardStrategy,
    WeBullStrategy,
)
from mesh_refresh import strategies as strategies_module
from mesh_refresh.testing import (
    Delivery,
    FakeLogin,
    FakeMesh,
    Fault,
    Gate,
    Lost,
    ManualClock,
    Reason,
    Reuse,
    SentRequest,
    Sharing,
    StrategyConformance,
    Undelivered,
)

# Tokens.


def tokens(payload: Mapping[str, Any], moment: datetime) -> None:
    """Making them, reading them, changing them."""
    one = Tokens(BrokerType.COINBASE, "r", access_token="a", metadata={"k": "v", "n": None}, ref=7, expires_at=moment)
    assert_type(Tokens("aBrokerOfTomorrow"), Tokens)
    assert_type(one.broker, BrokerType | str)
    assert_type(one.refresh_token, str | None)
    assert_type(one.auth_token, str | None)
    assert_type(one.metadata, Mapping[str, str | None] | None)
    assert_type(one.ref, str | int | None)
    assert_type(one.expires_at, datetime | None)
    assert_type(one.not_before, datetime | None)
    assert_type(Tokens.from_link(payload), tuple[Tokens, ...])
    assert_type(Tokens.from_link("{}", obtained_at=moment), tuple[Tokens, ...])
    assert_type(Tokens.from_link(b"{}"), tuple[Tokens, ...])
    assert_type(one.to_json(), str)
    assert_type(Tokens.from_json(b"{}"), Tokens)
    assert_type(evolve(one, ref="user-7"), Tokens)
    assert_type({one: 1}, dict[Tokens, int])


# The client.


async def client() -> None:
    """The first page of the README."""
    async with MeshClient.from_env(on_outcome=hook) as mesh:
        assert_type(mesh, MeshClient)
        assert_type(mesh.base_url, str)
        outcome = await mesh.refresh(Tokens("coinbase", "r"))
        assert_type(outcome, Refreshed | MfaRequired)
        assert_type(outcome.unwrap(), Refreshed)
        assert_type(outcome.before, Tokens)
        assert_type(outcome.all_tokens, tuple[Tokens, ...])
        assert_type(outcome.reply, Reply)
        assert_type(await mesh.refresh(outcome.tokens, create_new_refresh_token=True), Refreshed | MfaRequired)
        await mesh.aclose()


async def hook(outcome: Outcome) -> None:
    """An async `on_outcome`."""
    assert_type(outcome, Refreshed | MfaRequired | UnreadableReply)
    assert_type(outcome.all_tokens, tuple[Tokens, ...])


def sync_hook(outcome: Outcome) -> None:
    """A sync one."""
    match outcome:
        case Refreshed(all_tokens=fresh):
            assert_type(fresh, tuple[Tokens, ...])
        case MfaRequired(tokens=kept):
            assert_type(kept, Tokens)
        case UnreadableReply(body=body):
            assert_type(body, bytes)
        case _:
            assert_never(outcome)


async def any_hook(outcome: Any) -> int:
    """One that returns something, which nobody looks at."""
    return len(outcome.all_tokens)


def hooks() -> None:
    """Each is taken."""
    MeshClient("id", "secret", on_outcome=hook)
    MeshClient("id", "secret", on_outcome=sync_hook, on_outcome_timeout=timedelta(seconds=5))
    MeshClient("id", "secret", on_outcome=any_hook)
    MeshClient("id", "secret", on_outcome=lambda outcome: outcome.before)


async def async_secret() -> str:
    """A vault's."""
    return "secret"


def options(session: ClientSession, context: ssl.SSLContext, clock: Clock) -> None:
    """Every option of the client."""
    MeshClient("id", lambda: "secret", base_url=SANDBOX_URL)
    MeshClient("id", async_secret, base_url=PRODUCTION_URL)
    MeshClient("id", "secret", strategies={BrokerType.PAXOS: RegionalPaxos(), "tomorrow": WholeStrategy()})
    MeshClient("id", "secret", strategies=StrategyRegistry().with_strategy("paxos", WholeStrategy()))
    MeshClient("id", "secret", transport=AiohttpTransport(connections=10, ssl=context, trust_env=True))
    MeshClient("id", "secret", transport=AiohttpTransport(session))
    MeshClient("id", "secret", transport=OwnTransport(), clock=clock)
    MeshClient("id", "secret", clock=ManualClock())
    MeshClient("id", "secret", clock=SystemClock())
    MeshClient(
        "id",
        "secret",
        retry=RetryPolicy(
            attempts=1,
            deadline=timedelta(seconds=10),
            resend_unknown=True,
            backoff=timedelta(),
            backoff_cap=timedelta(seconds=1),
            settle=timedelta(seconds=2),
        ),
    )


async def check() -> None:
    """A `before_send`."""


async def leased(mesh: MeshClient, pending: MfaRequired) -> None:
    """What code with a lease of its own needs."""
    sending = SendOptions(attempts=1, before_send=check, hook=False)
    assert_type(await mesh.refresh(pending.tokens, sending=sending), Refreshed | MfaRequired)
    assert_type(await mesh.submit_mfa(pending, "424242", sending=sending), Refreshed | MfaRequired)


# Outcomes.


async def two_steps(mesh: MeshClient, one: Tokens) -> Refreshed:
    """A code, across processes. The match is known to be exhaustive."""
    outcome = await mesh.refresh(one)
    match outcome:
        case Refreshed() as refreshed:
            assert_type(refreshed.tokens, Tokens)
            return refreshed.unwrap()
        case MfaRequired() as pending:
            assert_type(pending.to_json(), str)
            assert_type(pending.display_message, str | None)
            assert_type(pending.access_token, str | None)
            again = MfaRequired.from_json(pending.to_json())
            assert_type(again, MfaRequired)
            answered = await mesh.submit_mfa(again, code="424242")
            assert_type(answered, Refreshed | MfaRequired)
            return answered.unwrap()
        case _:
            assert_never(outcome)


async def errors(mesh: MeshClient, one: Tokens) -> None:
    """What can be caught, and what each carries."""
    try:
        await mesh.refresh(one)
    except InvalidRequest as error:
        value_error: ValueError = error
        assert_type(value_error.args, tuple[Any, ...])
    except (Throttled, Unavailable) as error:
        assert_type(error.retry_after, timedelta | None)
    except CodeRefused as error:
        assert_type(error.pending, MfaRequired)
    except MfaPending as error:
        assert_type(error.pending, MfaRequired | None)
    except AccountNotInReply as error:
        assert_type(error.outcome, Refreshed | None)
    except NotSaved as error:
        assert_type(error.outcomes, tuple[Refreshed | MfaRequired | UnreadableReply, ...] | None)
    except UnreadableReply as error:
        assert_type(error.body, bytes)
        assert_type(error.may_hold_token, bool)
        assert_type(error.before, Tokens)
    except OutcomeUnknown as error:
        assert_type(error.token_may_be_spent, bool)
    except (TokensRefused, ClientRefused, NotSent) as error:
        assert_type(error, TokensRefused | ClientRefused | NotSent)
    except MeshRefreshError as error:
        assert_type(error.retryable, bool)
        assert_type(error.needs_reconnect, bool)
        assert_type(error.http_status, int | None)
        assert_type(error.status, ApiStatus | str | None)
        assert_type(error.error_type, str | None)
        assert_type(error.error_hash, str | None)
        assert_type(error.team_code, str | None)
        assert_type(error.message, str | None)
        assert_type(error.display_message, str | None)
        assert_type(error.error_data, object)
        assert_type(error.facts, ReplyFacts)
    unknown: type[OutcomeUnknown] = ServerFailure
    assert_type(unknown.token_may_be_spent, bool)


def messages(reply: Reply) -> None:
    """The typed envelope."""
    assert_type(reply.http_status, int)
    assert_type(reply.kind, BodyKind)
    assert_type(reply.status, ApiStatus | str | None)
    assert_type(reply.retry_after, timedelta | None)
    assert_type(reply.body, bytes)
    content = reply.content
    assert_type(content, BrokerRefreshTokenResponse | None)
    if content is not None:
        assert_type(content.status, AuthStatus | str | None)
        assert_type(content.expires_in, timedelta | None)
        assert_type(content.broker_account_tokens, tuple[BrokerAccountTokens, ...])
        for entry in content.broker_account_tokens:
            assert_type(entry.account, BrokerAccount | None)
            if entry.account is not None:
                assert_type(entry.account.cash, float | None)
                assert_type(entry.account.balances, tuple[BrokerFiatBalance, ...])


# Parts of the user's own.


class OwnTransport:
    """Derives from nothing, and is a `Transport` all the same."""

    async def send(self, request: HttpRequest) -> HttpReply:
        """One POST."""
        assert_type(request.url, str)
        assert_type(request.headers, Mapping[str, str])
        assert_type(request.body, bytes)
        await request.before_send()
        return HttpReply(200, {}, b"{}", complete=True)

    async def aclose(self) -> None:
        """Nothing to let go of."""


class RegionalPaxos(DefaultStrategy):
    """The one place to override."""

    def finish(self, request: RefreshRequest, tokens: Tokens) -> RefreshRequest:
        """Adds a field."""
        return evolve(request, metadata={**(request.metadata or {}), "region": "eu"})


class WholeStrategy:
    """Derives from nothing, and is a `Strategy` all the same."""

    def build(self, tokens: Tokens, options: RefreshOptions) -> RefreshRequest:
        """The first request."""
        return RefreshRequest(tokens.broker, tokens.refresh_token or "", options.create_new_refresh_token)

    def build_mfa(self, pending: MfaRequired, code: str) -> RefreshRequest:
        """The second one."""
        return RefreshRequest(pending.tokens.broker, pending.tokens.refresh_token or "", mfa_code=code)

    def interpret(self, request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Refreshed | MfaRequired:
        """As most do."""
        return DefaultStrategy().interpret(request, tokens, reply, at)

    def may_resend(self, request: RefreshRequest) -> bool:
        """Never."""
        return False


def own_parts() -> None:
    """They fit their protocols, and the shipped ones do."""
    transports: Sequence[Transport] = [OwnTransport(), AiohttpTransport()]
    own: Sequence[Strategy] = [
        WholeStrategy(),
        RegionalPaxos(),
        DefaultStrategy(send_access_token=True),
        WeBullStrategy(),
        VanguardStrategy(),
    ]
    clocks: Sequence[Clock] = [SystemClock(), ManualClock()]
    registry = StrategyRegistry().with_default(own[0])
    assert_type(registry.with_strategy("paxos", own[1]), StrategyRegistry)
    assert_type(registry[BrokerType.PAXOS], Strategy)
    assert_type(registry["tomorrow"], Strategy)
    assert_type(strategies_module.StrategyRegistry(), StrategyRegistry)
    assert_type(len(transports) + len(clocks), int)


# The testing kit.


class TestRegionalPaxos(StrategyConformance):
    """What a user derives."""

    broker = BrokerType.PAXOS

    def make_strategy(self) -> Strategy:
        """Mine."""
        return RegionalPaxos()


async def testing() -> None:
    """A test of a user's."""
    clock = ManualClock()
    assert_type(clock.now(), datetime)
    assert_type(clock.advance(timedelta(hours=1)), datetime)
    async with FakeMesh(clock=clock, seed=1) as fake, fake.client(retry=RetryPolicy(attempts=1)) as mesh:
        assert_type(fake, FakeMesh)
        assert_type(mesh, MeshClient)
        login = fake.login(BrokerType.ETORO, ref="user-7", accounts=2, sharing=Sharing.PAIR_EACH, mfa=True)
        assert_type(login, FakeLogin)
        assert_type(login.token, Tokens)
        assert_type(login.tokens, tuple[Tokens, ...])
        assert_type(login.live, tuple[Tokens, ...])
        assert_type(login.code, str)
        assert_type(login.link_payload(), dict[str, Any])
        assert_type(login.again(), tuple[Tokens, ...])
        fake.fail(Fault.throttle(retry_after=1), Fault.cut(after_rotation=True), times=2, login=login)
        assert_type(Fault.all(), dict[str, Fault])
        assert_type(Fault.refuse().delivery, Delivery)
        gate = fake.hold(after_rotation=True)
        assert_type(gate, Gate)
        await gate.entered.wait()
        gate.release()
        await fake.idle()
        assert_type(fake.lost(), list[Lost])
        assert_type(fake.lost(login.live)[0].reason, Reason)
        assert_type(fake.reuses, list[Reuse])
        assert_type(fake.requests, list[SentRequest])
        assert_type(fake.undelivered, list[Undelivered])
        assert_type(fake.is_live("r"), bool)
        assert_type(fake.base_url, str)
