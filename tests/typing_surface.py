"""What users' code looks like to a type checker. Never run: mypy and pyright read it, and it pins the public types."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never, assert_type

from aiohttp import ClientSession, web
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
    sync,
)
from mesh_refresh import strategies as strategies_module
from mesh_refresh.keeper import (
    Account,
    AccountEvent,
    AccountJoined,
    AccountRefreshed,
    AccountState,
    AccountUnreadable,
    Added,
    AmbiguousAccount,
    App,
    AttemptFailed,
    BreakerClosed,
    BreakerEvent,
    BreakerFault,
    BreakerOpened,
    BrokerSummary,
    CodeNotWanted,
    Copied,
    Event,
    Health,
    Keeper,
    KeeperClosed,
    Login,
    MfaNeeded,
    Moving,
    Notice,
    NoticeKind,
    NotReadyInTime,
    PacedHandler,
    Pending,
    Policy,
    ReconnectNeeded,
    ReconnectRequired,
    ReconnectSoon,
    StopNotices,
    Summary,
    TakenBack,
    TryNoticeAgain,
    UnknownAccount,
    UnknownLogin,
    UnopenedRow,
    Way,
    copy_fleet,
    take_back,
    version_of,
)
from mesh_refresh.keeper import Reason as ParkedBecause
from mesh_refresh.service import Access, AccessKey, Scope, Service, WebhookNotTaken, Webhooks
from mesh_refresh.stores import (
    BrokerPause,
    Busy,
    Cipher,
    ClaimRequest,
    Count,
    LoginNames,
    MemoryStore,
    NoticeRow,
    Page,
    PlainText,
    Resealed,
    Row,
    Sealing,
    Store,
    StoreDamaged,
    StoreError,
    StoreUnavailable,
    WrongKey,
    row_of,
)
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.telemetry import (
    AnsweredFrom,
    CombinedObserver,
    ExchangeEnded,
    Figures,
    FleetCounted,
    KeeperEntered,
    KeeperState,
    Observation,
    Observer,
    OtelObserver,
    PrometheusObserver,
    TokensAnswered,
)
from mesh_refresh.testing import (
    Body,
    Chunks,
    Delivery,
    Edge,
    EdgeFault,
    FakeLogin,
    FakeMesh,
    Fault,
    Gate,
    LossReason,
    Lost,
    ManualClock,
    Misplaced,
    Moment,
    Reach,
    Relay,
    Reuse,
    SentRequest,
    Sharing,
    StoreConformance,
    StrategyConformance,
    Undelivered,
    UnusedFault,
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
    assert_type(one.to_link(), dict[str, str])
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
        assert_type(mesh.retry, RetryPolicy)
        assert_type(mesh.clock, Clock)
        assert_type(mesh.may_resend(Tokens("coinbase", "r")), bool)
        assert_type(mesh.credential(Tokens("coinbase", "r")), str | None)
        outcome = await mesh.refresh(Tokens("coinbase", "r"))
        assert_type(outcome, Refreshed | MfaRequired)
        assert_type(outcome.unwrap(), Refreshed)
        assert_type(outcome.before, Tokens)
        assert_type(outcome.all_tokens, tuple[Tokens, ...])
        assert_type(outcome.brought, tuple[frozenset[str], ...])
        assert_type(outcome.onto(outcome.before), Tokens)
        assert_type(outcome.reply, Reply)
        assert_type(await mesh.refresh(outcome.tokens, create_new_refresh_token=True), Refreshed | MfaRequired)
        await mesh.aclose()


async def hook(outcome: Outcome) -> None:
    """An async `on_outcome`."""
    assert_type(outcome, Refreshed | MfaRequired | UnreadableReply)
    assert_type(outcome.all_tokens, tuple[Tokens, ...])
    assert_type(outcome.brought, tuple[frozenset[str], ...])
    assert_type(outcome.onto(outcome.before), Tokens)


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


async def narrow_hook(outcome: Refreshed) -> None:
    """One that would lose the bytes of an `UnreadableReply`, and a continuation."""
    assert_type(outcome.tokens, Tokens)


def without_bodies(outcome: Refreshed | MfaRequired) -> None:
    """One that would lose the bytes."""
    assert_type(outcome.tokens, Tokens)


def refused_hooks() -> None:
    """What takes only some of the outcomes is refused, by mypy and by pyright: a needless comment is an error there."""
    MeshClient("id", "secret", on_outcome=narrow_hook)  # type: ignore[arg-type]
    MeshClient("id", "secret", on_outcome=without_bodies)  # type: ignore[arg-type]
    MeshClient.from_env(on_outcome=narrow_hook)  # type: ignore[arg-type]


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
            max_requests=1,
            deadline=timedelta(seconds=10),
            resend_unknown=True,
            backoff=timedelta(),
            backoff_cap=timedelta(seconds=1),
            resend_after=timedelta(seconds=2),
        ),
    )


async def check() -> None:
    """A `before_send`."""


async def leased(mesh: MeshClient, pending: MfaRequired) -> None:
    """What code with a lease of its own needs."""
    sending = SendOptions(max_requests=1, before_send=check, call_on_outcome=False)
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
        assert_type(error.pending_id, str | None)
    except AccountNotInReply as error:
        assert_type(error.outcome, Refreshed | None)
    except NotSaved as error:
        assert_type(error.outcomes, tuple[Refreshed | MfaRequired | UnreadableReply, ...] | None)
        assert_type(error.outcome, Refreshed | MfaRequired | UnreadableReply)
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

    async def resumed(self) -> dict[str, datetime]:
        """When."""
        return {}

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

    def credential(self, tokens: Tokens) -> str | None:
        """Another one than most."""
        return tokens.access_token

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


# The keeper.


async def fleet(mesh: MeshClient, key: str, payload: Mapping[str, Any]) -> None:
    """The second page of the README."""
    async with (
        SqliteStore.open("fleet.db", cipher=Cipher([key]), busy_timeout=timedelta(seconds=1)) as store,
        Keeper(mesh, store) as keeper,
    ):
        assert_type(await store.reseal(), Resealed)
        assert_type(keeper, Keeper)
        added = await keeper.add("user-7", Tokens.from_link(payload))
        assert_type(added, Added)
        assert_type(added.changed, bool)
        assert_type(added.new, tuple[str | None, ...])
        assert_type(await keeper.add("user-7", Tokens("coinbase", "r"), only_new=True), Added)
        assert_type(await keeper.add_many(many(), spread=timedelta(hours=6), at_once=True), int)
        assert_type(
            await keeper.add_many(many(), on_demand="vanguard", on_error=dict[str, Exception]().__setitem__), int
        )
        assert_type(await keeper.add_many(many(), on_demand=[BrokerType.VANGUARD]), int)
        assert_type(await keeper.remove("user-7"), bool)
        await keeper.run()
    opened: SqliteStore = await SqliteStore.open("fleet.db", cipher=PlainText())
    await opened.aclose()


async def many_machines(mesh: MeshClient, url: str, key: str) -> None:
    """A fleet in PostgreSQL, and a move into it."""
    assert_type(await PostgresStore.migrate(url, schema="fleet", partitions=4), int)
    async with (
        PostgresStore.open(
            url,
            cipher=Cipher([key]),
            schema="fleet",
            migrate=True,
            connections=2,
            timeout=timedelta(seconds=5),
            transaction_pooling=False,
        ) as store,
        SqliteStore.open("fleet.db", cipher=Cipher([key])) as old,
    ):
        strategies: dict[str, Any] = {"may_resend": mesh.may_resend, "credential": mesh.credential}
        done = await copy_fleet(old, store, policy=Policy(), wait=False, **strategies)
        assert_type(done, Copied)
        assert_type(done.moved, int)
        assert_type(done.until, datetime | None)
        assert_type(done.gone, LoginNames)
        assert_type(await take_back(old, None, policy=Policy(), **strategies), TakenBack)
        assert_type(await take_back(old, store), TakenBack)
        assert_type(store.store_id, str)
        forget = store.watch(lambda: None)
        forget()
        login = await store.get("user-7")
        if login is not None and login.moving is not None:
            assert_type(login.moving, Moving)
            assert_type(login.moving.way, Way)


def many() -> Iterator[tuple[str, Tokens | tuple[Tokens, ...]]]:
    """What `add_many` takes."""
    yield "user-7", Tokens("coinbase", "r")
    yield "user-8", (Tokens("coinbase", "r", account_id="1"), Tokens("coinbase", "s", account_id="2"))


async def callers(keeper: Keeper, moment: datetime) -> None:
    """Everybody who wants something of a keeper."""
    fresh = await keeper.tokens("user-7")
    assert_type(fresh, Tokens)
    assert_type(await keeper.tokens("user-7", "acc-2", rejected=fresh, max_wait=timedelta(seconds=5)), Tokens)
    version = version_of("user-7", fresh)
    assert_type(await keeper.tokens("user-7", rejected=version, valid_for=timedelta(minutes=5)), Tokens)
    assert_type(keeper.credential(fresh), str | None)
    assert_type(await keeper.page(9, state="active", after="a"), Sequence[Login | UnopenedRow])
    assert_type(await keeper.pauses(), Mapping[str, BrokerPause])
    assert_type(await keeper.refresh("user-7", "acc-2", max_wait=timedelta()), Tokens)
    assert_type(await keeper.refresh_due(), int)
    assert_type(await keeper.submit_mfa("user-7", "424242"), Tokens)
    assert_type(await keeper.submit_mfa("user-7", "424242", pending_id="p", account_id="acc-2"), Tokens)
    assert_type(await keeper.restart_mfa("user-7", "acc-2"), Account)
    assert_type(await keeper.login("user-7"), Login)
    assert_type(keeper.logins(), AsyncIterator[Login])
    async for login in keeper.logins(state="mfa_required", broker="coinbase", changed_since=moment, after="a", limit=9):
        assert_type(login, Login)
    keeper.logins(state=AccountState.ACTIVE, broker=BrokerType.COINBASE)
    assert_type(await keeper.pause(BrokerType.COINBASE, note="an outage", by="ann"), BrokerPause)
    await keeper.pause()
    await keeper.resume("coinbase")
    summary = await keeper.summary()
    assert_type(summary, Summary)
    assert_type(summary.brokers, Mapping[str, BrokerSummary])
    assert_type(summary.states, Mapping[AccountState, int])
    assert_type(summary.late, timedelta)
    assert_type(summary.held_back, Mapping[str | None, BreakerFault])
    health = keeper.health()
    assert_type(health, Health)
    assert_type(health.alive, bool)
    assert_type(health.ready, bool)
    assert_type(health.ok, bool)
    assert_type(health.most_overdue, timedelta | None)
    assert_type(health.problems, tuple[str, ...])
    assert_type(health.halted, BreakerFault | None)


def kept(login: Login) -> None:
    """What is kept of a person."""
    assert_type(login.login_id, str)
    assert_type(login.broker, BrokerType | str)
    assert_type(login.state, AccountState)
    assert_type(login.accounts, tuple[Account, ...])
    account = login.account()
    assert_type(login.account("acc-2"), Account)
    assert_type(account.tokens, Tokens)
    assert_type(account.state, AccountState)
    assert_type(account.due_at, datetime | None)
    assert_type(account.reason, ParkedBecause | None)
    assert_type(account.body, bytes | None)
    assert_type(account.pending, Pending | None)
    if account.pending is not None:
        assert_type(account.pending.id, str)


async def refusals(keeper: Keeper) -> None:
    """What a keeper raises."""
    try:
        await keeper.tokens("user-7")
    except (UnknownAccount, UnknownLogin, AmbiguousAccount) as error:
        lookup: LookupError = error
        assert_type(lookup.args, tuple[Any, ...])
    except ReconnectNeeded as error:
        assert_type(error.reason, ParkedBecause | None)
        assert_type(error.display_message, str | None)
    except NotReadyInTime as error:
        assert_type(error.retry_at, datetime | None)
    except (CodeNotWanted, KeeperClosed) as error:
        invalid: InvalidRequest = error
        assert_type(invalid.retryable, bool)
    except (StoreDamaged, StoreUnavailable, WrongKey) as error:
        store_error: StoreError = error
        assert_type(store_error.retryable, bool)


async def handler(event: Event) -> None:
    """An async `on_event`."""
    assert_type(event, AccountEvent | BreakerEvent)
    assert_type(event.at, datetime)
    match event:
        case AccountRefreshed(failures=failures, was=was):
            assert_type(failures, int)
            assert_type(was, AccountState)
        case MfaNeeded(pending_id=pending_id):
            assert_type(pending_id, str)
        case ReconnectRequired(reason=reason, display_message=message):
            assert_type(reason, ParkedBecause)
            assert_type(message, str | None)
        case ReconnectSoon(ends_at=ends_at):
            assert_type(ends_at, datetime)
        case AttemptFailed(error=error, retry_at=retry_at):
            assert_type(error, str)
            assert_type(retry_at, datetime | None)
        case AccountJoined() | AccountUnreadable():
            assert_type(event.login_id, str)
            assert_type(event.account_id, str | None)
        case BreakerOpened(fault=fault) | BreakerClosed(fault=fault):
            assert_type(fault, BreakerFault)
            assert_type(event.broker, str | None)
        case _:
            pass  # one of a later version


def sync_handler(event: Event) -> None:
    """A sync one."""


async def notice_handler(notice: Notice) -> None:
    """An `on_notice`."""
    assert_type(notice.kind, NoticeKind)
    assert_type(notice.sequence, int)
    assert_type(notice.reason, ParkedBecause | None)
    if notice.pending_id is None:
        raise TryNoticeAgain(timedelta(seconds=5), "too many")
    raise StopNotices("the receiver is gone")


class Receiver:
    """An `on_notice` that says how many it takes."""

    async def __call__(self, notice: Notice, /) -> int:
        """What it returns does not matter."""
        return notice.sequence

    def capacity(self) -> int:
        """One at a time."""
        return 1


def keepers(mesh: MeshClient, store: Store, clock: Clock) -> None:
    """Every option of a keeper."""
    Keeper(mesh, store, policy=Policy(concurrency=200, rate=100, keep_alive=timedelta(days=1)), on_event=handler)
    Keeper(mesh, store, on_event=sync_handler, background=False, spool="spool", clock=clock, names=lambda: "a name")
    Keeper(mesh, store, on_event=print, on_notice=notice_handler)
    paced: PacedHandler = Receiver()
    Keeper(mesh, store, on_notice=paced)
    Keeper(mesh, MemoryStore(cipher=PlainText(), clock=clock))
    assert_type(App().policy, Policy | None)
    App(strategies={BrokerType.PAXOS: DefaultStrategy()}, on_event=handler, on_notice=notice_handler, policy=Policy())
    App(strategies=StrategyRegistry(), on_event=sync_handler, transport=OwnTransport(), observer=None)


# Stores.


def sealed(login: Login, moment: datetime) -> None:
    """Keys, and what is sealed with them."""
    assert_type(Cipher.generate_key(), str)
    cipher = Cipher([Cipher.generate_key(), b"an older one"])
    assert_type(Cipher.from_file("keys"), Cipher)
    assert_type(cipher.seals_with, str)
    assert_type(cipher.seal("text", context="of whom"), bytes)
    assert_type(cipher.open(b""), str)
    both: Sequence[Sealing] = [cipher, PlainText()]
    assert_type(row_of(both[0], login, moment), Row)


class OwnStore(Store):
    """What a user derives; all verbs are theirs to write."""

    def __init__(self, cipher: Sealing) -> None:
        self.cipher = cipher
        self.store_id = "drawn when it was made"

    async def insert(self, row: Row, *, notices: Sequence[NoticeRow] = ()) -> bool:
        """A new row."""
        return bool(row.sealed)

    async def read(self, login_id: str) -> Row | None:
        """The row."""
        return None

    async def swap(
        self,
        row: Row,
        *,
        owner: str | None = None,
        hold: timedelta = timedelta(),
        notices: Sequence[NoticeRow] = (),
    ) -> bool:
        """Compare, and write."""
        assert_type((row.epoch, row.revision, row.attempt), tuple[str, int, int])
        return False

    async def claim(self, request: ClaimRequest) -> Sequence[Row]:
        """What is due."""
        assert_type(request.limit_of("coinbase"), int)
        assert_type(request.ahead, datetime)
        return []

    async def claim_one(self, login_id: str, owner: str, lease: timedelta, *, sends: bool = True) -> Row | Busy | None:
        """This one."""
        return Busy(lease)

    async def release(self, login_id: str, owner: str, hold: timedelta) -> bool:
        """Give it back."""
        return False

    async def delete(self, login_id: str, *, seen: Row | None = None) -> bool:
        """Forget it."""
        return False

    async def rows(self, page: Page) -> Sequence[Row]:
        """A page."""
        assert_type(page.states, frozenset[str] | None)
        return []

    async def counts(self, now: datetime) -> Sequence[Count]:
        """How many there are."""
        return [Count("coinbase", frozenset({"active"}), logins=1, expired=0, due=0, earliest_due_at=now, leased=0)]

    async def pause(
        self, broker: str, *, paused: bool = True, note: str = "", by: str = "", at: datetime | None = None
    ) -> None:
        """No claims of it."""

    async def paused(self) -> dict[str, BrokerPause]:
        """Those."""
        return {}

    async def resumed(self) -> dict[str, datetime]:
        """When."""
        return {}

    async def aclose(self) -> None:
        """Nothing to let go of."""


async def stores(mesh: MeshClient) -> None:
    """It fits, and has what is provided."""
    async with OwnStore(PlainText()) as store, Keeper(mesh, store):
        assert_type(store, OwnStore)
        assert_type(await store.get("user-7"), Login | None)


# Telemetry.


class OwnObserver:
    """What a user writes."""

    def observe(self, told: Observation, /) -> None:
        """Each value has its types."""
        match told:
            case ExchangeEnded(broker, outcome, seconds, requests, late):
                assert_type((broker, outcome, seconds, requests), tuple[str, str, float, int])
                assert_type(late, float | None)
            case TokensAnswered(answer):
                assert_type(answer, AnsweredFrom)
            case KeeperEntered(keeper, look):
                assert_type(keeper, str)
                assert_type(look(), KeeperState)
            case FleetCounted(figures=figures):
                assert_type(figures, Figures | None)
            case _:
                pass  # one of a later version


def observers(store: Store) -> None:
    """Where they go."""
    prometheus = PrometheusObserver()
    both: Observer = CombinedObserver(prometheus, OtelObserver(), OwnObserver())
    Keeper(MeshClient("id", "secret", observer=prometheus), store, observer=both, role="run")


# The testing kit.


class TestOwnStore(StoreConformance):
    """What a user derives for a store."""

    async def make_store(self) -> Store:
        """Mine."""
        return OwnStore(PlainText())

    async def pass_time(self, store: Store, by: timedelta) -> None:
        """On its clock."""


class TestRegionalPaxos(StrategyConformance):
    """What a user derives."""

    broker = BrokerType.PAXOS

    def make_strategy(self) -> Strategy:
        """Mine."""
        return RegionalPaxos()


async def service(keeper: Keeper) -> None:
    """A fleet over HTTP."""
    key, text = AccessKey.generate("caller", [Scope.TOKENS], prefix="a", rate=2.0, expires=datetime.now(UTC))
    assert_type(key, AccessKey)
    assert_type(text, str)
    assert_type(Access.open("access.toml").keys, tuple[AccessKey, ...])
    served = Service(keeper, Access([key]), page=False, hosts=["refresh.example"], observer=None)
    assert_type(served.app, web.Application)
    assert_type(await served.stop(), None)


async def webhooks(mesh: MeshClient, store: Store) -> None:
    """A worker that posts its notices."""
    assert_type(Webhooks.generate_secret(), str)
    async with Webhooks("https://a.example", "s", kinds=["recovered", NoticeKind.MFA_NEEDED], observer=None) as hooks:
        assert_type(hooks, Webhooks)
        assert_type(hooks.capacity(), int)
        try:
            await hooks.send_test()
        except WebhookNotTaken as error:
            assert_type(error.args, tuple[Any, ...])
        async with Keeper(mesh, store, on_notice=hooks):
            pass


def without_a_loop(key: str, tokens: Tokens, payload: Mapping[str, Any]) -> None:
    def store() -> SqliteStore:
        return SqliteStore.open("fleet.db", cipher=Cipher([key]))

    async def opened() -> SqliteStore:
        return await store()

    with sync.Keeper(MeshClient.from_env, store, spool="spool", policy=Policy(), on_event=sync_handler) as keeper:
        assert_type(keeper.add("u", Tokens.from_link(payload)), Added)
        assert_type(keeper.tokens("u", "acc-1", rejected=tokens, max_wait=timedelta(seconds=1)), Tokens)
        assert_type(keeper.refresh("u"), Tokens)
        assert_type(keeper.submit_mfa("u", "424242", pending_id="p"), Tokens)
        assert_type(keeper.restart_mfa("u"), Account)
        assert_type(keeper.login("u"), Login)
        assert_type(keeper.logins(state="active", limit=3), Iterator[Login])
        assert_type(keeper.remove("u"), bool)
        assert_type(keeper.summary(), Summary)
        keeper.tokens(7)  # type: ignore[arg-type]
        keeper.tokens("u", wait=1)  # type: ignore[call-arg]
    sync.Keeper(lambda: MeshClient.from_env(on_outcome=sync_hook), opened).close()
    sync.Keeper(MeshClient.from_env, store, background=True)  # type: ignore[call-arg]
    with sync.MeshClient(MeshClient.from_env) as mesh:
        assert_type(mesh.refresh(tokens), Refreshed | MfaRequired)


async def testing() -> None:
    """A test of a user's."""
    clock = ManualClock()
    assert_type(clock.now(), datetime)
    assert_type(clock.advance(timedelta(hours=1)), datetime)
    async with FakeMesh(clock=clock, seed=1) as fake, fake.client(retry=RetryPolicy(max_requests=1)) as mesh:
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
        assert_type(fake.lost(login.live)[0].reason, LossReason)
        assert_type(fake.reuses, list[Reuse])
        assert_type(fake.requests, list[SentRequest])
        assert_type(fake.undelivered, list[Undelivered])
        assert_type(fake.is_live("r"), bool)
        assert_type(UnusedFault().args, tuple[Any, ...])
        assert_type(fake.base_url, str)
        assert_type(fake.misplaced(), list[Misplaced])
        assert_type(fake.misplaced({login: login.live}), list[Misplaced])
        assert_type(fake.misplaced({login.id: list(login.live)}), list[Misplaced])
        await edges(fake, login, gate)


async def edges(fake: FakeMesh, login: FakeLogin, gate: Gate) -> None:
    """A test of a transport of a user's."""
    fault = EdgeFault.coding("gzip", body=Body.GZIP_CUT) | EdgeFault.chunked(Chunks(each=1), "chunks of one byte")
    assert_type(fault, EdgeFault)
    assert_type(fault.reach, Reach)
    assert_type(EdgeFault.all(), dict[str, EdgeFault])
    async with Edge(fake, fault, EdgeFault.repeat(when=Moment.IDLE), times=2) as edge:
        assert_type(edge, Edge)
        edge.fail(EdgeFault.early(503, when=gate), times=None, login=login, broker=BrokerType.ETORO)
        assert_type(edge.base_url, str)
        assert_type(edge.relays, list[Relay])
        assert_type(edge.relays[0].reach, Reach)
        await edge.received(1)
        await edge.idle()
        edge.heal()
