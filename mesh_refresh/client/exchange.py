"""One exchange, from the first attempt until its outcome is with a hook or a caller."""

import asyncio
import inspect
import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal

from attrs import define, evolve, field

from mesh_refresh import codec
from mesh_refresh.client.answers import Answered, Unusable
from mesh_refresh.client.calls import Call, Result
from mesh_refresh.client.delivery import Deliveries, Participant, working_for
from mesh_refresh.client.received import as_reply, is_unread
from mesh_refresh.client.runtime import ClientRuntime
from mesh_refresh.errors import InvalidRequest, MeshRefreshError, NotSent, OutcomeUnknown
from mesh_refresh.masking import MaskedBytes, MaskedStr
from mesh_refresh.messages import HttpReply, HttpRequest
from mesh_refresh.observing import ExchangeEnded, outcome_name
from mesh_refresh.protocols import allows_resending
from mesh_refresh.retry import RetryPolicy, pause_before_retry
from mesh_refresh.tasks import ExchangeTask, run_foreign

_log = logging.getLogger("mesh_refresh")

_NO_REPLY = "The transport brought something that cannot be used as a reply."
_NO_SECRET = MaskedStr()


class Ended(Enum):
    """Why the client ended an exchange."""

    DEADLINE = "the deadline passed"
    ABANDONED = "every caller was cancelled"
    CLOSING = "the client is being closed"


State = Literal["new", "idle", "sent", "delivering", "finished"]
"""How far an exchange has come.

- new: its task has not taken its first step.
- idle: no byte of a request is out. Before the first request, and between two.
- sent: bytes of a request may be out.
- delivering: there is a result, which goes to `on_outcome`.
- finished: every caller has been woken.
"""


@define(eq=False, repr=False, weakref_slot=False)
class Exchange:
    """One exchange, shared by every caller with an equal request. Runs in a task of its own that refuses cancels.

    With `answered`, nothing is sent: a remembered answer is delivered to a late caller.
    """

    runtime: ClientRuntime
    call: Call
    _on_end: Callable[["Exchange"], None]
    answered: Answered | None = None
    _on_late: Callable[["Exchange", HttpReply], None] | None = field(default=None, kw_only=True, alias="on_late")
    _is_late: bool = field(default=False, kw_only=True, alias="is_late")
    _came: float | None = field(default=None, kw_only=True, alias="came")
    """When its first caller came, in the loop's time, if that caller has waited for another exchange before."""
    failed: MeshRefreshError | None = None
    state: State = "new"
    ended: Ended | None = None
    delivery: Deliveries = field(init=False)
    _watchers: "tuple[asyncio.Future[None], ...]" = ()
    _early: tuple[HttpReply, ...] = ()
    """What came behind a reply before the exchange was finished."""
    _sent_at: datetime | None = None
    _requests: int = 0
    _seconds: float | None = None
    """From its begin to its outcome; None: there is none yet, or nothing is sent."""
    _secret: MaskedStr = field(default=_NO_SECRET, repr=False)
    _begun: float = field(init=False)
    """When its first caller came, in the loop's time."""
    _task: ExchangeTask | None = None
    _last: MeshRefreshError | None = None
    _unknown: MeshRefreshError | None = None

    def __attrs_post_init__(self) -> None:
        self.delivery = Deliveries(self.runtime, self.result_for, is_late=self._is_late)
        self._begun = self.runtime.loop.time() if self._came is None else self._came

    def start(self) -> None:
        """Start the task. The first caller has joined before, so that the exchange cannot end without one."""
        if self.answered is None:
            self.runtime.deadlines.add(self, self._came)
        self._task = ExchangeTask.of(self._run(), self.runtime.loop)

    # Callers.

    def join(self, call: Call) -> Participant:
        """Add a caller."""
        return self.delivery.join(call)

    def leave(self, participant: Participant) -> None:
        """Note that a caller was cancelled. Without any caller left, an exchange ends, unless bytes may be out."""
        participant.gone = True
        if self.state != "sent" and not self.delivery.wanted:
            self.end(Ended.ABANDONED)

    async def wait(self, until: float | None = None) -> bool:
        """Wait until it is finished, or until the loop's time is `until`. Gives whether it is finished.

        The outcome is not handed to the caller: see `join`.
        """
        if self.state != "finished":
            loop = self.runtime.loop
            watcher: asyncio.Future[None] = loop.create_future()
            self._watchers += (watcher,)
            timer = None if until is None else loop.call_at(until, _wake, watcher)
            try:
                await watcher
            finally:
                if timer is not None:
                    timer.cancel()
        return self.state == "finished"

    def end(self, reason: Ended) -> None:
        """End it now, unless its result is there already. While bytes may be out, only the deadline may do this."""
        if self.ended is None and self.answered is None and self.failed is None:
            self.ended = reason
            # A task that is cancelled before its first step never takes it, and would wake no caller.
            if self.state != "new" and self._task is not None:
                self._task.end()

    def expire(self) -> None:
        """The deadline has passed."""
        self.end(Ended.DEADLINE)

    def take_late(self, reply: HttpReply) -> None:
        """Take a reply that came too late, or bytes behind the reply, from the transport. Never raises.

        It belongs to this exchange, however long ago that was.
        """
        if self._on_late is None:
            return
        came = as_reply(reply)
        reply = came if isinstance(came, HttpReply) else HttpReply.behind(came)
        if self.state != "finished":
            self._early += (reply,)
            return
        try:
            self._on_late(self, reply)
        except Exception as error:  # noqa: BLE001 - a transport calls it, which can do nothing about that
            _log.error("bytes that came after an exchange are lost: %s (%s)", type(error).__name__, self.call.name)

    def answer_of(self, reply: HttpReply) -> Answered:
        """`reply` as the answer to the last request, however late it is."""
        now = self.runtime.clock.now()
        return Answered.to(self.call, reply, self._sent_at or now, now, self._secret)

    def result_for(self, call: Call) -> Result:
        """The outcome, or the error, for one caller. Never raises."""
        if self.answered is not None:
            return self.answered.outcome_for(call)
        failed = self.failed or NotSent()
        try:
            return failed.for_another()
        except Exception:  # noqa: BLE001 - an error of the user's that cannot be copied
            return failed

    # The task.

    async def _run(self) -> None:
        self.state = "idle"
        working_for.set(self.delivery.number)
        try:
            if self.answered is None:
                await self._send_until_ended()
            self.state = "delivering"
            await self.delivery.save(self.answered)
        finally:
            self._finish()

    async def _send_until_ended(self) -> None:
        """Send, until there is a result. Sets `answered` or `failed`, also where something unforeseen is raised."""
        try:
            self.failed = await self._attempts()
        except asyncio.CancelledError:
            # Between two requests, the error of the last one says more than that there was no other.
            self.failed = self._worst(self._last or self._end_error())
        except BaseException as error:
            self.failed = OutcomeUnknown(f"The exchange broke off: {type(error).__name__}.")
            self.failed.__cause__ = error
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise  # it ends the program
        finally:
            self._seconds = self.runtime.loop.time() - self._begun
            self.runtime.deadlines.remove(self)

    def _finish(self) -> None:
        """Wake every caller and every waiter, also where something unforeseen was raised."""
        self.state = "finished"
        self.delivery.hand_out()
        for watcher in self._watchers:
            _wake(watcher)
        try:
            self._on_end(self)
        except Exception as error:  # noqa: BLE001 - the callers have their results
            _log.error("the end of an exchange is not remembered: %s (%s)", type(error).__name__, self.call.name)
        early, self._early = self._early, ()
        for reply in early:
            self.take_late(reply)
        self._pass_surplus_on()
        self._tell()

    def _tell(self) -> None:
        """Tell the observer. Last of all, where even one that ends the program costs no caller anything."""
        sending = self.call.sending
        observer = sending.observer or self.runtime.observer
        if observer is not None and self._seconds is not None:
            outcome = outcome_name(self.delivery.first_result())
            broker = str(self.call.tokens.broker)
            observer.observe(ExchangeEnded(broker, outcome, self._seconds, self._requests, sending.late))

    def _pass_surplus_on(self) -> None:
        """Take the bytes that came together with the reply, behind it: they are no part of the answer."""
        if self.answered is not None and self.answered.http.surplus:
            self.take_late(HttpReply.behind(self.answered.http.surplus))

    async def _attempts(self) -> MeshRefreshError | None:
        """Send until a reply is a success (None; `answered` is set), or no further request may go out (its error)."""
        attempt = 0
        while self.ended is None:
            attempt += 1
            error = await self._attempt()
            if error is None:
                return None
            pause = pause_before_retry(
                self._policy,
                error,
                attempt=attempt,
                elapsed=timedelta(seconds=self.runtime.loop.time() - self._begun),
                may_resend=allows_resending(self.call.strategy, self.call.request),
                chance=random.random(),  # noqa: S311 - it spreads callers in time and guards nothing
            )
            if isinstance(error, OutcomeUnknown):
                self._unknown = error
            self._last = error
            if pause is None or not self.delivery.wanted or self.ended is not None or self.runtime.closing:
                return self._worst(error)
            failure, seconds = type(error).__name__, pause.total_seconds()
            _log.info("refresh failed with %s; next attempt in %.1f s (%s)", failure, seconds, self.call.name)
            self._pass_surplus_on()
            self.answered, self.state = None, "idle"
            self.delivery.forget_results()
            await asyncio.sleep(pause.total_seconds())
        return self._worst(self._end_error())

    def _worst(self, error: MeshRefreshError) -> MeshRefreshError:
        """`error`, or the error of an earlier request that may have spent the token: later ones must not hide that."""
        if self._unknown is None or error is self._unknown or error.needs_reconnect or error.token_may_be_spent:
            return error
        self.answered = None
        self.delivery.forget_results()
        self._unknown.__cause__ = error
        return self._unknown

    async def _attempt(self) -> MeshRefreshError | None:
        """Send once. Gives the error, or None where the reply is a success."""
        self.state, self._sent_at = "idle", None
        try:
            self._secret = await self.runtime.secret()
            request = self._request(self._secret)
            if self.runtime.own_transport:
                http: HttpReply | MaskedBytes = await self.runtime.transport.send(request)
            else:
                http = await self._send_foreign(request)
        except asyncio.CancelledError:
            return self._end_error()
        except MeshRefreshError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a transport of the user's may raise anything
            unknown = OutcomeUnknown(f"The transport broke off: {type(error).__name__}.")
            unknown.__cause__ = error
            return unknown
        if isinstance(http, HttpReply):
            self.answered = self.answer_of(http)
        else:
            self.answered = Unusable(self.call, _NO_REPLY, http, self.runtime.clock.now())
        result = self.delivery.first_result()
        return result if isinstance(result, MeshRefreshError) else None

    def _request(self, secret: MaskedStr) -> HttpRequest:
        return HttpRequest(
            self.runtime.url, self.runtime.headers(secret), self._body(), self._before_send, self.take_late
        )

    async def _send_foreign(self, request: HttpRequest) -> HttpReply | MaskedBytes:
        reply = await run_foreign(lambda: self.runtime.transport.send(request), again=False)
        if reply is None:
            raise OutcomeUnknown("The transport brought no HttpReply, but None.")
        if is_unread(reply):  # a response of an HTTP library's, whose body is still to come
            try:
                return as_reply(reply, body=await run_foreign(reply.read, again=False))
            except Exception as error:  # noqa: BLE001 - what it has shown is kept
                _log.error("the transport's response cannot be read: %s (%s)", type(error).__name__, self.call.name)
        return as_reply(reply)

    @property
    def _policy(self) -> RetryPolicy:
        limit = self.call.sending.max_requests
        return self.runtime.retry if limit is None else evolve(self.runtime.retry, max_requests=limit)

    def _body(self) -> bytes:
        try:
            return codec.encode_request(self.call.request)
        except Exception as error:  # noqa: BLE001 - what a strategy's `finish` put in, or text that is not Unicode
            name = type(error).__name__
        raise InvalidRequest(f"The request cannot be written as JSON ({name}); nothing was sent.")

    async def _before_send(self) -> None:
        check = self.call.sending.before_send
        if check is not None:
            try:
                # A plain function needs no task of its own: it has no await at which it could be cancelled.
                looked = await run_foreign(check) if inspect.iscoroutinefunction(check) else check()
                if inspect.isawaitable(looked):
                    awaitable = looked
                    await run_foreign(lambda: awaitable, again=False)
            except MeshRefreshError:
                raise
            except Exception as error:
                raise NotSent(f"The request was held back: before_send raised {type(error).__name__}.") from error
        if self.ended is not None:
            raise NotSent(f"The request was not sent: {self.ended.value}.")
        if self.runtime.loop.time() - self._begun > self.runtime.last_send:
            raise NotSent("The request was not sent: too little time was left for an answer.")
        self.state = "sent"
        self._requests += 1
        self._sent_at = self.runtime.clock.now()

    def _end_error(self) -> MeshRefreshError:
        """The error for a cancelled attempt: by `end`, or by a shutdown that hit a task of aiohttp's."""
        reason = self.ended.value if self.ended else "a task that it needs was cancelled"
        if self.state == "sent":
            return OutcomeUnknown(f"The request was sent, but no answer came back: {reason}.")
        return NotSent(f"The request was not sent: {reason}.")


def _wake(watcher: "asyncio.Future[None]") -> None:
    if not watcher.done():
        watcher.set_result(None)
