"""`MeshClient`: what a user types."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, Unpack

from mesh_refresh.client.calls import (
    DEFAULT_SENDING,
    Answered,
    Behind,
    Call,
    SendOptions,
    as_told,
    goes_ahead_after,
    may_be_news,
    own_tokens,
    tokens_of,
)
from mesh_refresh.client.checks import check_not_waiting_for_itself, check_sending, is_a
from mesh_refresh.client.delivery import Participant
from mesh_refresh.client.exchange import Ended, Exchange
from mesh_refresh.client.guarded_clock import guarded
from mesh_refresh.client.keys import (
    PRODUCTION_URL,
    ClientSecret,
    check_broker_fits,
    check_secret_fits,
    checked_base_url,
    checked_key,
    from_environment,
    host_of,
)
from mesh_refresh.client.memory import Memory
from mesh_refresh.client.options import ClientOptions, check_options, registry_of
from mesh_refresh.client.requests import built
from mesh_refresh.client.runtime import ClientRuntime, Hook
from mesh_refresh.clock import Clock, SystemClock
from mesh_refresh.errors import InvalidRequest, MeshRefreshError, NotSent
from mesh_refresh.masking import MaskedStr
from mesh_refresh.messages import HttpReply
from mesh_refresh.protocols import RefreshOptions, Strategy, Transport, allows_resending, credential_of
from mesh_refresh.replies.brought import changed_fields
from mesh_refresh.replies.outcomes import MfaRequired, NotSaved, Refreshed, UnreadableReply
from mesh_refresh.retry import RetryPolicy
from mesh_refresh.strategies import StrategyRegistry
from mesh_refresh.tasks import CancelledForGood, ExchangeTask, run_foreign, wait_to_end
from mesh_refresh.tokens import Tokens
from mesh_refresh.transport import AiohttpTransport

_log = logging.getLogger("mesh_refresh")

_Exchanging = Coroutine[Any, Any, Refreshed | MfaRequired]

_GRACE = 1.0
"""Seconds beyond its own deadline for which a caller waits for another's exchange."""

_being_closed: ContextVar[int | None] = ContextVar("mesh_refresh_being_closed", default=None)
"""The `id` of the client whose transport is being closed: it cannot wait for itself. An `id`, because timers keep the
context in which they were made, and with it all that is in there."""


class MeshClient:
    """Refreshes tokens at Mesh, each by its broker's strategy, and loses none of them.

    `client_secret` is a string, or a callable (sync or async) that is asked before each request. `strategies` maps
    brokers to strategies beside the shipped ones, or is a whole `StrategyRegistry`. `on_outcome` (sync or async) is
    given every outcome that may hold a live token, before `refresh` returns and also when its caller is gone; it may
    take `on_outcome_timeout` (30 seconds). `transport` sends the requests; the client closes it.

    Make it anywhere; it belongs to the event loop in which it is first used. Raises `InvalidRequest` for keys that
    cannot be right, such as keys with blanks around them, and for a base URL that tokens must not be sent to.

    Source: https://docs.meshconnect.com/api-reference/managed-account-authentication/refresh-auth-token
    """

    _base_url = ""  # for the repr of one that was refused before it was made

    def __init__(
        self,
        client_id: str,
        client_secret: ClientSecret,
        *,
        base_url: str = PRODUCTION_URL,
        strategies: Mapping[Any, Strategy] | StrategyRegistry | None = None,
        retry: RetryPolicy | None = None,
        transport: Transport | None = None,
        on_outcome: Hook | None = None,
        on_outcome_timeout: timedelta = timedelta(seconds=30),
        clock: Clock | None = None,
    ) -> None:
        if isinstance(client_secret, str):
            client_secret = MaskedStr(client_secret)
            checked_key("client secret", client_secret)
        elif not is_a(client_secret, Callable):
            kind = type(client_secret).__name__
            del self, client_secret  # a traceback may be rendered with its locals
            raise InvalidRequest(f"The client secret must be a string or a callable, not {kind}.")
        self._client_id = checked_key("client id", client_id)
        self._client_secret: ClientSecret = client_secret
        base_url = MaskedStr(base_url) if isinstance(base_url, str) else base_url
        self._base_url = checked_base_url(base_url)
        if isinstance(client_secret, str):
            check_secret_fits(self._base_url, client_secret)
        check_options(retry, transport, on_outcome, on_outcome_timeout)
        self._registry = registry_of(strategies)
        self._retry = retry or RetryPolicy()
        self._transport = transport or AiohttpTransport()
        self._on_outcome = on_outcome
        self._on_outcome_timeout = on_outcome_timeout
        self._clock = clock or SystemClock()
        self._time = guarded(self._clock)
        self._shell: ClientRuntime | None = None
        self._memory = Memory(self._time)
        self._running: dict[str, Exchange] = {}
        self._closed = False
        self._closing: ExchangeTask | None = None

    @classmethod
    def from_env(cls, **options: Unpack[ClientOptions]) -> Self:
        """A client with ``MESH_CLIENT_ID``, ``MESH_CLIENT_SECRET`` and perhaps ``MESH_BASE_URL`` from the environment.

        `options` are those of the class. Raises `InvalidRequest`, which names the variables that are missing.
        """
        client_id, secret, base_url = map(MaskedStr, from_environment(os.environ))
        options.setdefault("base_url", str(base_url))
        return cls(str(client_id), str(secret), **options)

    def __repr__(self) -> str:
        return f"<MeshClient {host_of(self._base_url)}>"

    @property
    def base_url(self) -> str:
        """Where requests go."""
        return self._base_url

    @property
    def retry(self) -> RetryPolicy:
        """How often and how long one `refresh` tries."""
        return self._retry

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called: nothing is sent any more."""
        return self._closed

    @property
    def clock(self) -> Clock:
        """What lifetimes are told in."""
        return self._clock

    def may_resend(self, tokens: Tokens) -> bool:
        """Whether the strategy of the tokens' broker lets them be sent again after an exchange of unknown outcome.

        A strategy whose `may_resend` raises does not. Where it cannot even build a request, none is sent.
        """
        strategy = self._registry[tokens.broker]
        try:
            request = built(lambda: strategy.build(tokens, RefreshOptions()))
        except InvalidRequest:
            return True  # it is not sent at all
        return allows_resending(strategy, request)

    def credential(self, tokens: Tokens) -> str | None:
        """What an exchange of `tokens` spends, by their broker's strategy. None: they cannot be exchanged.

        Where the strategy's `credential` raises, it is the refresh token.
        """
        return credential_of(self._registry[tokens.broker], tokens)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def refresh(
        self,
        tokens: Tokens,
        *,
        create_new_refresh_token: bool | None = None,
        sending: SendOptions = DEFAULT_SENDING,
    ) -> Refreshed | MfaRequired:
        """Exchange `tokens` for fresh ones.

        Callers who ask for the same at the same time share one request. A cancelled caller gets its `CancelledError`
        at once, while an exchange whose bytes may be out runs on until `on_outcome` has what came of it.
        `create_new_refresh_token` asks for a new refresh token too (TD Ameritrade). `sending` is for code that keeps
        tokens under a lease of its own.

        Raises `InvalidRequest` before any I/O, and the errors of `mesh_refresh.errors`.
        """
        if not is_a(tokens, Tokens):
            del tokens  # a traceback may be rendered with its locals
            raise InvalidRequest("refresh takes Tokens (Tokens.from_json reads a tokens document).")
        check_sending(sending)
        strategy = self._registry[tokens.broker]
        self._check(tokens)
        options = RefreshOptions(create_new_refresh_token)
        request = built(lambda: strategy.build(tokens, options))
        call = Call(strategy, tokens, request, options, sending)
        if call.spent is None:
            raise InvalidRequest(f"There is nothing to refresh this {tokens.broker} account with; nothing was sent.")
        return await self._exchange(call)

    async def submit_mfa(
        self, pending: MfaRequired, code: str, *, sending: SendOptions = DEFAULT_SENDING
    ) -> Refreshed | MfaRequired:
        """Answer the broker's question with `code`. It may ask again.

        Raises `CodeRefused` for a wrong code: `pending` is still good then. Otherwise like `refresh`.
        """
        code = MaskedStr(code) if isinstance(code, str) else ""
        if not is_a(pending, MfaRequired):
            del pending
            raise InvalidRequest("submit_mfa takes a MfaRequired (MfaRequired.from_json reads a continuation).")
        check_sending(sending)
        strategy = self._registry[pending.tokens.broker]
        self._check(pending.tokens)
        request = built(lambda: strategy.build_mfa(pending, code))
        # The access token of the first reply is for this request only.
        gained = changed_fields(pending.before, pending.tokens) & {"refresh_token", "refresh_token_expires_at"}
        call = Call(strategy, pending.tokens, request, sending=sending, pending=pending, gained=gained)
        return await self._exchange(call)

    async def aclose(self) -> None:
        """Wait for every exchange whose bytes may be out, end the others, close the transport.

        All of this is done before it returns or raises, also where its caller is cancelled meanwhile, once or again
        and again; the `CancelledError` comes at its end. A transport of yours may take `on_outcome_timeout` to
        close.

        Raises `NotSaved` with every outcome that reached neither a caller nor `on_outcome`,
        at each call, until somebody brings their tokens. Safe to call twice.
        """
        for exchange in (*self._running.values(), *self._memory.recalled):
            check_not_waiting_for_itself(exchange, "to close the client that waits for it: close it outside")
        if _being_closed.get() == id(self):
            raise InvalidRequest("The transport asked to close the client that closes it: it is being closed.")
        self._closed = True
        if self._shell is not None:
            self._shell.closing = True
        for exchange in list(self._running.values()):
            if not exchange.started:
                exchange.end(Ended.CLOSING)
        if self._closing is None:
            self._closing = ExchangeTask.of(self._close(), asyncio.get_running_loop())
        elif self._closing.done():
            self._raise_unreached()
            return
        try:
            cancelled = await wait_to_end(self._closing)
        finally:
            self._raise_unreached()
        if cancelled is not None:
            raise cancelled

    async def _close(self) -> None:
        await self._until_idle()
        if self._shell is not None:
            self._shell.deadlines.stop()
            self._shell.hook_deadlines.stop()
            self._shell = None
        _being_closed.set(id(self))
        failure: BaseException | None = None
        try:
            # It may bring what came on its connections since. Ours needs no time-out: it waits for nobody.
            limit = None if type(self._transport) is AiohttpTransport else self._on_outcome_timeout.total_seconds()
            await run_foreign(self._transport.aclose, timeout=limit, again=False)
        except CancelledForGood:
            _log.error("the transport cancelled its own aclose; its connections may be open")
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - of a transport of the user's, perhaps
            failure = error
        await self._until_idle()
        self._memory.forget()
        if failure is not None:
            raise failure

    async def _until_idle(self) -> None:
        while busy := [one for one in (*self._running.values(), *self._memory.recalled) if not one.finished]:
            await busy[0].wait()

    def _raise_unreached(self) -> None:
        unreached = self._memory.unreached()
        if unreached:
            raise NotSaved(f"{len(unreached)} outcome(s) reached neither a caller nor on_outcome.", unreached)

    def _check(self, tokens: Tokens) -> None:
        check_broker_fits(self._base_url, tokens.broker)
        if tokens.not_before is not None and tokens.not_before > self._time.now():
            raise InvalidRequest(
                f"These tokens cannot be exchanged before {tokens.not_before:%Y-%m-%d %H:%M:%S} UTC; nothing was sent."
            )

    def _exchange(self, call: Call) -> _Exchanging:
        shell = self._bound()
        # Of most tokens nothing is known: their exchange needs no look around.
        is_known = call.key in self._running or self._memory.newest(call) is not None
        return self._exchange_among_others(shell, call) if is_known or self._closed else self._begin(shell, call)

    def _begin(self, shell: ClientRuntime, call: Call, begun: float | None = None) -> _Exchanging:
        exchange = self._running[call.key] = Exchange(shell, call, self._on_end, on_late=self._on_late, begun=begun)
        return self._share(exchange, exchange.join(call), starts=True)

    async def _exchange_among_others(self, shell: ClientRuntime, call: Call) -> Refreshed | MfaRequired:
        """Share an exchange of the same token, wait for it, or get what is remembered of it, before one of its own."""
        came, again = shell.loop.time(), False
        until = came + self._retry.deadline.total_seconds()
        used: set[Answered] = set()
        while True:
            if self._closed:
                raise InvalidRequest("This client is closed; nothing was sent.")
            found = self._memory.newest(call)
            if found is not None and found[0] not in used:
                answered, latest = found
                after = own_tokens(answered.outcome_for(latest))
                busy = None if after is None else self._running.get(latest.key_for(after) or "")
                if busy is None:
                    outcome = await self._recall(shell, answered, latest, brought=call)
                    if not answered.leaves_out(latest, outcome):
                        return outcome
                    used.add(answered)
                    call = _left_out(latest, outcome)
                    continue
                # The newest of the chain is being renewed this moment: what comes of that is newer still.
                check_not_waiting_for_itself(busy)
                await self._wait(busy, until)
                again = True
                continue
            running = self._running.get(call.key)
            if running is None:
                return await self._begin(shell, call, came if again else None)
            check_not_waiting_for_itself(running)
            # One whose answer left this account out already is waited for: its other callers may still be told.
            if running.ended is None and running.call.equals(call) and running.answered not in used:
                outcome = await self._share(running, running.join(call))
                if running.answered is None or not running.answered.leaves_out(call, outcome):
                    return outcome
                used.add(running.answered)
                call = _left_out(call, outcome)
                continue
            await self._wait(running, until)
            again = True
            result = running.result_for(call)
            own = own_tokens(result)
            if own is None and running.answered is not None and running.answered.leaves_out(call, result):
                used.add(running.answered)
                continue
            if isinstance(result, MeshRefreshError) and goes_ahead_after(result):
                continue
            # After one with a code it is not built anew: that would ask the person for another code at once.
            if isinstance(result, Refreshed) and own is not None and not (call.pending or running.call.pending):
                call = call.successor(own)
                continue
            if running.answered is None and isinstance(result, MeshRefreshError):
                raise result
            if running.answered is not None:
                return await self._recall(shell, running.answered, call, brought=call)

    async def _wait(self, exchange: Exchange, until: float) -> None:
        """Until it is finished. Raises `NotSent` at the deadline of the caller who waits."""
        # One that began earlier ends earlier, but for some steps of the loop: its outcome is worth more than `NotSent`.
        if not await exchange.wait(until + _GRACE):
            raise NotSent("The request was not sent: another one with the same token took all the time.")

    async def _recall(
        self, shell: ClientRuntime, answered: Answered, call: Call, *, brought: Call
    ) -> Refreshed | MfaRequired:
        """The outcome of a remembered answer; told as that of the tokens that were `brought`."""
        exchange = self._memory.recall(answered)
        starts = exchange is None
        if exchange is None:
            exchange = Exchange(shell, call, self._on_recalled, answered)
            self._memory.begin(answered, exchange)
        else:
            check_not_waiting_for_itself(exchange)
        outcome = await self._share(exchange, exchange.join(call), starts=starts)
        return outcome if call is brought else as_told(outcome, brought.tokens)

    async def _share(
        self, exchange: Exchange, participant: Participant, *, starts: bool = False
    ) -> Refreshed | MfaRequired:
        if starts:
            exchange.start()
        try:
            await participant.done
        except asyncio.CancelledError:
            exchange.leave(participant)
            self._settle(exchange)
            raise
        result = exchange.delivery.received(participant)
        self._settle(exchange)
        if isinstance(result, MeshRefreshError):
            raise result
        return result

    def _on_end(self, exchange: Exchange) -> None:
        self._running.pop(exchange.call.key, None)
        self._memory.add(exchange)
        self._settle(exchange)

    def _on_late(self, exchange: Exchange, reply: HttpReply) -> None:
        """The reply came after its exchange was given up, or bytes came behind it: the hook is told of news."""
        callers = exchange.delivery.by_ref().values()
        answered = exchange.answer_of(reply)
        if reply.is_behind:
            known = [secret for caller, result in callers for secret in tokens_of(caller.call, result)]
            kept = (result.body for _, result in callers if isinstance(result, UnreadableReply))
            if any(reply.surplus in body for body in kept) or not may_be_news(reply.surplus, known):
                return
            answered = Behind(exchange.delivery.number, exchange.call, reply.surplus, self._time.now())
        late = Exchange(exchange.shell, exchange.call, self._on_recalled, answered, is_late=True)
        for caller, _ in callers:
            late.delivery.join(caller.call, caller.context).gone = True  # nobody waits for it
        if not reply.is_behind:
            self._memory.add(late)  # before the hook has it: a caller with the spent token is to wait for that
        self._memory.begin(answered, late)
        late.start()

    def _on_recalled(self, exchange: Exchange) -> None:
        self._memory.end(exchange)
        self._settle(exchange)

    def _settle(self, exchange: Exchange) -> None:
        if exchange.finished and not exchange.delivery.wanted:
            self._memory.settle(exchange)

    def _bound(self) -> ClientRuntime:
        if self._shell is None:
            self._shell = ClientRuntime(
                client_id=self._client_id,
                client_secret=self._client_secret,
                base_url=self._base_url,
                retry=self._retry,
                transport=self._transport,
                on_outcome=self._on_outcome,
                on_outcome_timeout=self._on_outcome_timeout,
                clock=self._time,
            )
        elif self._shell.loop is not asyncio.get_running_loop():
            raise InvalidRequest(
                "This client belongs to another event loop, the one in which it was first used: make one for each loop."
            )
        return self._shell


def _left_out(call: Call, outcome: Refreshed | MfaRequired) -> Call:
    """The call to make after `outcome`, which is of another account's exchange and has no access token for `call`."""
    own = own_tokens(outcome)
    return call if own is None else call.successor(own)
