"""`MeshClient`, the class that users call."""

import asyncio
import logging
import os
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, Self, Unpack

from attrs import evolve

from mesh_refresh.client.answers import Unusable, may_be_news, tokens_of
from mesh_refresh.client.calls import DEFAULT_SENDING, Call, SendOptions, as_told, built
from mesh_refresh.client.delivery import Participant, working_for
from mesh_refresh.client.exchange import Ended, Exchange
from mesh_refresh.client.keys import ClientSecret, check_broker_fits, check_secret_fits, from_environment, host_of
from mesh_refresh.client.memory import Memory
from mesh_refresh.client.options import ClientOptions, Hook, registry_of
from mesh_refresh.client.runtime import ClientRuntime
from mesh_refresh.client.sharing import Begin, Fail, Join, Recall, Step, Turn, WaitForEnd, WaitForNewer, decide, learn
from mesh_refresh.clock import Clock
from mesh_refresh.errors import InvalidRequest, MeshRefreshError, NotSent
from mesh_refresh.files import WatchedFile
from mesh_refresh.masking import MaskedStr, hides_locals
from mesh_refresh.messages import HttpReply
from mesh_refresh.observing import Observer
from mesh_refresh.protocols import RefreshOptions, allows_resending, credential_of
from mesh_refresh.replies.brought import changed_fields
from mesh_refresh.replies.outcomes import MfaRequired, NotSaved, Refreshed, UnreadableReply
from mesh_refresh.retry import RetryPolicy
from mesh_refresh.tasks import CancelledForGood, ExchangeTask, run_foreign, wait_to_end
from mesh_refresh.tokens import Tokens
from mesh_refresh.transport import AiohttpTransport

_log = logging.getLogger("mesh_refresh")

_Exchanging = Coroutine[Any, Any, Refreshed | MfaRequired]

_GRACE = 1.0
"""Seconds beyond its own deadline for which a caller waits for another caller's exchange."""

_being_closed: ContextVar[int | None] = ContextVar("mesh_refresh_being_closed", default=None)
"""In a transport's `aclose`: the `id` of the client that calls it, for which the transport must not wait. An `id`,
because timers keep the context in which they were made, and with it all that the context refers to."""


class MeshClient:
    """Refreshes tokens at Mesh, each by its broker's strategy, and loses none of them.

    `client_secret` is a string, or a callable (sync or async) that is asked before each request. `strategies` maps
    brokers to strategies beside the shipped ones, or is a whole `StrategyRegistry`. `on_outcome` (sync or async) is
    called with every outcome that may hold a live token: before `refresh` returns, and also when its caller was
    cancelled. It may take `on_outcome_timeout` (30 seconds). `transport` sends the requests; the client closes it.
    `observer` is told of each exchange. `base_url`, `retry` and `clock` are the other options; `ClientOptions` has them
    all with their types.

    A client can be made anywhere, and belongs to the event loop in which it is first used. Raises `InvalidRequest` for
    keys that cannot be right, such as keys with blanks around them, for wrong options, and for a base URL that tokens
    must not be sent to.

    Source: https://docs.meshconnect.com/api-reference/managed-account-authentication/refresh-auth-token
    """

    @hides_locals
    def __init__(self, client_id: str, client_secret: ClientSecret, **options: Unpack[ClientOptions]) -> None:
        self._runtime = ClientRuntime(client_id, client_secret, options)
        self._registry = registry_of(options.get("strategies"))
        self._memory = Memory(self._runtime.clock)
        self._running: dict[str, Exchange] = {}
        self._closed = False
        self._closing: ExchangeTask | None = None

    @classmethod
    def from_env(cls, **options: Unpack[ClientOptions]) -> Self:
        """A client with ``MESH_CLIENT_ID``, ``MESH_CLIENT_SECRET`` and perhaps ``MESH_BASE_URL`` from the environment.

        ``MESH_CLIENT_SECRET_FILE`` may name a file with the secret instead, which is read again when it changes.

        `options` are those of the class. Raises `InvalidRequest`, which names the variables that are missing.
        """
        client_id, secret, base_url = from_environment(os.environ, WatchedFile)
        used = options.setdefault("base_url", base_url)
        if not isinstance(secret, str):
            check_secret_fits(used, secret())
        return cls(client_id, secret, **options)

    def __repr__(self) -> str:
        return f"<MeshClient {host_of(self._runtime.base_url)}>"

    @property
    def base_url(self) -> str:
        """Where requests go."""
        return self._runtime.base_url

    @property
    def retry(self) -> RetryPolicy:
        """How often and for how long one `refresh` tries."""
        return self._runtime.retry

    @property
    def observer(self) -> Observer | None:
        """What is told each exchange."""
        return self._runtime.observer

    @property
    def on_outcome(self) -> Hook | None:
        """What is given every outcome that may hold a live token."""
        return self._runtime.on_outcome

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called. A closed client sends nothing."""
        return self._closed

    @property
    def clock(self) -> Clock:
        """The clock that lifetimes of tokens are told in."""
        return self._runtime.given_clock

    def may_resend(self, tokens: Tokens) -> bool:
        """Whether the strategy of their broker lets `tokens` be sent again after an exchange of unknown outcome.

        False where its `may_resend` raises. True where it cannot build a request: then none is sent.
        """
        strategy = self._registry[tokens.broker]
        try:
            request = built(lambda: strategy.build(tokens, RefreshOptions()))
        except InvalidRequest:
            return True  # it is not sent at all
        return allows_resending(strategy, request)

    def credential(self, tokens: Tokens) -> str | None:
        """What an exchange of `tokens` spends, by the strategy of their broker. None: they cannot be exchanged.

        It is the refresh token where the strategy's `credential` raises.
        """
        return credential_of(self._registry[tokens.broker], tokens)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def refresh(
        self,
        tokens: Tokens,
        *,
        create_new_refresh_token: bool | None = None,
        sending: SendOptions = DEFAULT_SENDING,
    ) -> Refreshed | MfaRequired:
        """Exchange `tokens` for fresh ones. Returns when `on_outcome` has the outcome.

        Callers with equal requests at the same time share one exchange. A cancelled caller gets its `CancelledError`
        at once; an exchange whose bytes may be out runs on until `on_outcome` has its outcome.
        `create_new_refresh_token` asks for a new refresh token too (TD Ameritrade). `sending` is for code that stores
        tokens under a lease of its own.

        Raises `InvalidRequest` before any I/O, and the errors of `mesh_refresh.errors`. Raises `NotSaved`, with the
        outcome on it, where `on_outcome` failed.
        """
        if not _is_a(tokens, Tokens):
            del tokens  # a traceback may be rendered with its locals
            raise InvalidRequest("refresh takes Tokens (Tokens.from_json reads a tokens document).")
        _check_sending(sending)
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
        """Answer the broker's question with `code`. The broker may ask again: then the outcome is a `MfaRequired`.

        Raises `CodeRefused` for a wrong code: `pending` is good still, and takes another code. Raises the errors of
        `refresh` too.
        """
        code = MaskedStr(code) if isinstance(code, str) else ""
        if not _is_a(pending, MfaRequired):
            del pending
            raise InvalidRequest("submit_mfa takes a MfaRequired (MfaRequired.from_json reads a continuation).")
        _check_sending(sending)
        strategy = self._registry[pending.tokens.broker]
        self._check(pending.tokens)
        request = built(lambda: strategy.build_mfa(pending, code))
        # The access token of the first reply is for this request only.
        gained = changed_fields(pending.before, pending.tokens) & {"refresh_token", "refresh_token_expires_at"}
        call = Call(strategy, pending.tokens, request, sending=sending, pending=pending, gained=gained)
        return await self._exchange(call)

    async def aclose(self) -> None:
        """Wait for every exchange whose bytes may be out, end the others, and close the transport.

        All of this is done before it returns or raises. A caller that is cancelled meanwhile, once or several times,
        gets its `CancelledError` at the end. A transport of yours may take `on_outcome_timeout` to close.

        Raises `NotSaved` with every outcome that reached neither a caller nor `on_outcome`: at each call, because an
        outcome is owed until a caller has it. Safe to call twice.
        """
        for exchange in (*self._running.values(), *self._memory.recalled):
            _check_not_waiting_for_itself(exchange, "to close the client that waits for it: close it outside")
        if _being_closed.get() == id(self):
            raise InvalidRequest("The transport asked to close the client that closes it: it is being closed.")
        self._closed = True
        self._runtime.closing = True
        for exchange in list(self._running.values()):
            if exchange.state != "sent":
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
        _being_closed.set(id(self))
        failure: BaseException | None = None
        try:
            # The transport may bring what came on its connections since. Ours needs no time-out: it waits for nothing.
            transport = self._runtime.transport
            limit = None if type(transport) is AiohttpTransport else self._runtime.hook_timeout
            await run_foreign(transport.aclose, timeout=limit, again=False)
        except CancelledForGood:
            _log.error("the transport cancelled its own aclose; its connections may be open")
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - of a transport of the user's, perhaps
            failure = error
        await self._until_idle()
        self._runtime.stop_timers()
        self._memory.forget()
        if failure is not None:
            raise failure

    async def _until_idle(self) -> None:
        while busy := [one for one in (*self._running.values(), *self._memory.recalled) if one.state != "finished"]:
            await busy[0].wait()

    def _raise_unreached(self) -> None:
        unreached = self._memory.unreached()
        if unreached:
            raise NotSaved(f"{len(unreached)} outcome(s) reached neither a caller nor on_outcome.", unreached)

    def _check(self, tokens: Tokens) -> None:
        check_broker_fits(self._runtime.base_url, tokens.broker)
        if tokens.not_before is not None and tokens.not_before > self._runtime.clock.now():
            raise InvalidRequest(
                f"These tokens cannot be exchanged before {tokens.not_before:%Y-%m-%d %H:%M:%S} UTC; nothing was sent."
            )

    def _exchange(self, call: Call) -> _Exchanging:
        self._check_open()
        self._runtime.bind()
        # Of most tokens nothing is known: their exchange needs no look around.
        is_known = call.key in self._running or self._memory.newest(call) is not None
        return self._exchange_among_others(Turn(call)) if is_known else self._begin(call)

    async def _exchange_among_others(self, turn: Turn) -> Refreshed | MfaRequired:
        """Execute the steps that `decide` names, until one of them brings the outcome."""
        came = self._runtime.loop.time()
        while True:
            self._check_open()
            step: Step | Turn = decide(turn, self._memory.newest(turn.call), self._running)
            if isinstance(step, WaitForEnd | WaitForNewer):
                await self._wait(step.exchange, came)
                turn = evolve(turn, has_waited=True)
                step = learn(turn, step.exchange) if isinstance(step, WaitForEnd) else turn
            match step:
                case Begin():
                    return await self._begin(turn.call, came if turn.has_waited else None)
                case Fail(error):
                    raise error
                case Turn():
                    turn = step
                case Join() | Recall():
                    outcome = await self._take(step, turn.call)
                    after = turn.after(step, outcome)
                    if after is None:
                        return outcome
                    turn = after

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidRequest("This client is closed; nothing was sent.")

    def _begin(self, call: Call, came: float | None = None) -> _Exchanging:
        exchange = Exchange(self._runtime, call, self._on_end, on_late=self._on_late, came=came)
        self._running[call.key] = exchange
        return self._share(exchange, exchange.join(call), starts=True)

    async def _wait(self, exchange: Exchange, came: float) -> None:
        """Wait for the end of `exchange`. Raises `NotSent` at the deadline of the caller, who `came` then."""
        _check_not_waiting_for_itself(exchange)
        # An exchange that began earlier ends earlier, but for some passes of the loop: its outcome says more.
        if not await exchange.wait(came + self._runtime.retry.deadline.total_seconds() + _GRACE):
            raise NotSent("The request was not sent: another one with the same token took all the time.")

    async def _take(self, step: Join | Recall, call: Call) -> Refreshed | MfaRequired:
        """The outcome of an exchange under way or of a remembered answer, as that of the tokens of `call`."""
        if isinstance(step, Join):
            _check_not_waiting_for_itself(step.exchange)
            return await self._share(step.exchange, step.exchange.join(call))
        exchange = self._memory.recall(step.answered)
        starts = exchange is None
        if exchange is None:
            exchange = Exchange(self._runtime, step.call, self._on_recalled, step.answered)
            self._memory.begin(step.answered, exchange)
        else:
            _check_not_waiting_for_itself(exchange)
        outcome = await self._share(exchange, exchange.join(step.call), starts=starts)
        return outcome if step.call is call else as_told(outcome, call.tokens)

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
        """Deliver a reply that came after its exchange was given up, or bytes behind a reply, where they are news."""
        callers = exchange.delivery.by_ref().values()
        answered = exchange.answer_of(reply)
        if reply.is_behind:
            known = [secret for caller, result in callers for secret in tokens_of(caller.call, result)]
            kept = (result.body for _, result in callers if isinstance(result, UnreadableReply))
            if any(reply.surplus in body for body in kept) or not may_be_news(reply.surplus, known):
                return
            answered = Unusable.behind(
                exchange.delivery.number, exchange.call, reply.surplus, self._runtime.clock.now()
            )
        late = Exchange(exchange.runtime, exchange.call, self._on_recalled, answered, is_late=True)
        for caller, _ in callers:
            late.delivery.join(caller.call, caller.context).gone = True  # the caller has its result already
        if not reply.is_behind:
            self._memory.add(late)  # before the hook has it: a caller with the spent token waits for that
        self._memory.begin(answered, late)
        late.start()

    def _on_recalled(self, exchange: Exchange) -> None:
        self._memory.end(exchange)
        self._settle(exchange)

    def _settle(self, exchange: Exchange) -> None:
        if exchange.state == "finished" and not exchange.delivery.wanted:
            self._memory.settle(exchange)


def _check_not_waiting_for_itself(
    exchange: Exchange, what: str = "to refresh the very tokens that it works for"
) -> None:
    """Raises `InvalidRequest` where code of the user's would wait for the very exchange that waits for it."""
    if exchange.delivery.number == working_for.get():
        part = "on_outcome" if exchange.answered is not None else "The transport, the secret or before_send"
        raise InvalidRequest(f"{part} asked {what}.")


def _check_sending(sending: object) -> None:
    if not isinstance(sending, SendOptions):
        raise InvalidRequest("sending takes SendOptions.")


def _is_a(value: object, cls: Any) -> bool:
    """`isinstance` for arguments whose declared type leaves type checkers no other case."""
    return isinstance(value, cls)
