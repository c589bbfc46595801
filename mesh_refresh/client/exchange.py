"""One exchange, from the first attempt until its outcome has reached a hook or a caller."""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum

from mesh_refresh import codec
from mesh_refresh.client.calls import Answered, Call, holds_live_token, rotated_to
from mesh_refresh.client.shell import Shell
from mesh_refresh.client.tasks import CancelledForGood, ExchangeTask, run_foreign, start
from mesh_refresh.errors import InvalidRequest, MeshRefreshError, NotSent, OutcomeUnknown
from mesh_refresh.messages import HttpReply, HttpRequest
from mesh_refresh.outcomes import MfaRequired, NotSaved, Outcome, Refreshed
from mesh_refresh.retry import pause_before_retry

_log = logging.getLogger("mesh_refresh")

Result = Refreshed | MfaRequired | MeshRefreshError


class Ended(Enum):
    """Why an exchange was ended from our side."""

    DEADLINE = "the deadline passed"
    ABANDONED = "nobody waits for it any more"
    CLOSING = "the client is being closed"


class Participant:
    """One caller of an exchange, for as long as it waits."""

    __slots__ = ("call", "done", "gone", "result", "served")

    def __init__(self, call: Call, loop: asyncio.AbstractEventLoop) -> None:
        self.call = call
        self.done: asyncio.Future[None] = loop.create_future()
        self.result: Result | None = None
        """What the exchange means for its account, once that was read; what it is handed, once `served`."""
        self.served = False
        self.gone = False
        """It was cancelled, or has its result."""


class Exchange:
    """Runs in a task of its own that refuses cancels, shared by every caller with an equal request."""

    def __init__(self, shell: Shell, call: Call, on_end: Callable[["Exchange"], None]) -> None:
        self.call = call
        self.shell = shell
        self.key = call.key
        self.answered: Answered | None = None
        self.failed: MeshRefreshError | None = None
        self.finished = False
        self.rotated = False
        self.ended: Ended | None = None
        self.started = False
        """Whether bytes of the attempt under way may be out."""
        self.participants: list[Participant] = []
        self.reached: set[object] = set()
        """The refs whose outcome is with a hook or a caller."""
        self.told: set[object] = set()
        """The refs whose outcome is with a hook."""
        self._watchers: list[asyncio.Future[None]] = []
        self._unsaved: dict[object, NotSaved] = {}
        self._on_end = on_end
        self._sent_at: datetime | None = None
        self._result: Result | None = None
        self._begun = shell.loop.time()
        self._saving = False
        shell.deadlines.add(self)
        self.task: ExchangeTask = start(self._run(), "mesh_refresh exchange")

    # Callers.

    def join(self, call: Call) -> Participant:
        """Count a caller in. Its outcome is told to the hook too, for each `ref` once."""
        participant = Participant(call, self.shell.loop)
        self.participants.append(participant)
        if self.finished and not self._saving:
            # A late caller of an exchange that is remembered: its own account's outcome, saved like the others.
            self._saving = True
            self._unsaved.pop(call.tokens.ref, None)
            self.task = start(self._serve(), "mesh_refresh late caller")
        return participant

    def leave(self, participant: Participant) -> None:
        """A caller was cancelled. Before the bytes and between attempts, an exchange that nobody waits for ends."""
        participant.gone = True
        if not self.started and self.answered is None and not self.wanted:
            self.end(Ended.ABANDONED)

    @property
    def wanted(self) -> bool:
        """Whether any caller still waits."""
        return any(not participant.gone for participant in self.participants)

    def received(self, participant: Participant) -> None:
        """A caller has its outcome in hand."""
        participant.gone = True
        self.reached.add(participant.call.tokens.ref)

    async def wait(self) -> None:
        """Until it is finished, without a share in it."""
        if not self.finished:
            watcher: asyncio.Future[None] = self.shell.loop.create_future()
            self._watchers.append(watcher)
            await watcher

    def end(self, reason: Ended) -> None:
        """End it now. For a started exchange only the deadline may."""
        if self.ended is None and self.answered is None and not self.finished:
            self.ended = reason
            self.task.end()

    # What came of it.

    def result_for(self, call: Call) -> Result:
        """The outcome, or the error, for one caller."""
        if self.answered is not None:
            return self.answered.outcome_for(call)
        assert self.failed is not None
        return self.failed.for_another()

    def unreached(self) -> list[Outcome]:
        """Outcomes with a live token that reached neither a hook nor a caller, one for each ref."""
        found: dict[object, Outcome] = {}
        for participant in self.participants:
            ref = participant.call.tokens.ref
            if ref not in self.reached and ref not in found:
                result = self.result_for(participant.call)
                if holds_live_token(result):
                    found[ref] = result  # type: ignore[assignment]
        return list(found.values())

    def forget_callers(self) -> None:
        """Let go of the callers that are gone and whose outcome is with somebody."""
        self.participants = [
            participant
            for participant in self.participants
            if not participant.gone or participant.call.tokens.ref not in self.reached
        ]

    def _outcome(self, participant: Participant) -> Result:
        if participant.result is None:
            leader = participant.call is self.call and self._result is not None
            participant.result = self._result if leader else self.result_for(participant.call)
        assert participant.result is not None
        return participant.result

    # The task.

    async def _run(self) -> None:
        try:
            await self._attempts()
        except asyncio.CancelledError:
            self.failed = self._end_error()
        except MeshRefreshError as error:
            self.failed = error
        except Exception as error:
            self.failed = OutcomeUnknown(f"The exchange broke off: {type(error).__name__}.")
            self.failed.__cause__ = error
        self.shell.deadlines.remove(self)
        self.started = False
        if self._result is not None:
            self.rotated = rotated_to(self._result, self.call.request.refresh_token)
        await self._serve()

    async def _attempts(self) -> None:
        policy, attempt = self.shell.retry, 0
        attempts = self.call.sending.attempts or policy.attempts
        while True:
            attempt += 1
            error = await self._attempt()
            if error is None:
                return
            elapsed = timedelta(seconds=self.shell.loop.time() - self._begun)
            pause = pause_before_retry(
                policy,
                error,
                attempt=attempt + policy.attempts - attempts,
                elapsed=elapsed,
                may_resend=self.call.strategy.may_resend(self.call.request),
                chance=random.random(),
            )
            if pause is None or not self.wanted or self.ended is not None:
                self.failed = error if self.answered is None else None
                return
            _log.info("refresh failed with %s; next attempt in %.1f s", type(error).__name__, pause.total_seconds())
            self.answered, self._result, self.started = None, None, False
            await asyncio.sleep(pause.total_seconds())

    async def _attempt(self) -> MeshRefreshError | None:
        """Send once; None where the answer is a success."""
        self.started, self._sent_at = False, None
        try:
            reply = await self._exchange()
        except asyncio.CancelledError:
            error = self._end_error()
        except MeshRefreshError as failure:
            error = failure
        except Exception as failure:
            error = OutcomeUnknown(f"The transport broke off: {type(failure).__name__}.")
            error.__cause__ = failure
        else:
            at = self._sent_at or self.shell.clock.now()
            decoded = codec.decode_reply(reply, at=self.shell.clock.now())
            self.answered = Answered(self.call.request, decoded, at, self.call.pending)
            self._result = result = self.answered.outcome_for(self.call)
            return result if isinstance(result, MeshRefreshError) else None
        return error

    async def _exchange(self) -> HttpReply:
        request = HttpRequest(
            self.shell.url,
            await self.shell.headers(),
            self._body(),
            self._before_send,
        )
        if self.shell.own_transport:
            return await self.shell.transport.send(request)
        reply: HttpReply = await run_foreign(lambda: self.shell.transport.send(request), again=False)
        return reply

    def _body(self) -> bytes:
        try:
            return codec.encode_request(self.call.request)
        except Exception as error:  # what a strategy's `finish` put in, or text that is not Unicode
            name = type(error).__name__
        raise InvalidRequest(f"The request cannot be written as JSON ({name}); nothing was sent.")

    async def _before_send(self) -> None:
        check = self.call.sending.before_send
        if check is not None:
            try:
                await run_foreign(check)
            except MeshRefreshError:
                raise
            except Exception as error:
                raise NotSent(f"The request was held back: before_send raised {type(error).__name__}.") from error
        if self.ended is not None:
            raise NotSent(f"The request was not sent: {self.ended.value}.")
        self.started = True
        self._sent_at = self.shell.clock.now()

    def _end_error(self) -> MeshRefreshError:
        """What a cancellation means: our own timer's, or that of one of aiohttp's helper tasks by a shutdown."""
        reason = self.ended.value if self.ended else "a task that it needs was cancelled"
        if self.started:
            return OutcomeUnknown(f"The request was sent, but no answer came back: {reason}.")
        return NotSent(f"The request was not sent: {reason}.")

    # Saving and handing out.

    async def _serve(self) -> None:
        self._saving = True
        if self.shell.on_outcome is not None:
            while (participant := self._next_to_tell()) is not None:
                await self._tell(participant)
        self._saving = False
        self.finished = True
        for participant in self.participants:
            if not participant.served:
                self._hand_out(participant)
        for watcher in self._watchers:
            if not watcher.done():
                watcher.set_result(None)
        self._watchers.clear()
        self._on_end(self)

    def _next_to_tell(self) -> Participant | None:
        return next(
            (
                participant
                for participant in self.participants
                if not participant.served
                and participant.call.sending.hook
                and participant.call.tokens.ref not in self.told
                and participant.call.tokens.ref not in self._unsaved
                and holds_live_token(self._outcome(participant))
            ),
            None,
        )

    async def _tell(self, participant: Participant) -> None:
        ref, outcome, hook = participant.call.tokens.ref, self._outcome(participant), self.shell.on_outcome
        assert hook is not None
        cause: Exception | None = None
        try:
            await run_foreign(lambda: hook(outcome), timeout=self.shell.hook_timeout)
        except (asyncio.CancelledError, CancelledForGood):
            why = "was cancelled"
        except TimeoutError as error:
            cause, why = error, f"took longer than {self.shell.hook_timeout:g} s, or raised TimeoutError"
        except Exception as error:
            cause, why = error, f"raised {type(error).__name__}"
        else:
            self.told.add(ref)
            self.reached.add(ref)
            return
        failure = NotSaved(f"The exchange succeeded, but on_outcome {why}.", (outcome,))  # type: ignore[arg-type]
        failure.__cause__ = cause
        self._unsaved[ref] = failure
        _log.error("on_outcome %s; the outcome is handed to the caller or kept", why)

    def _hand_out(self, participant: Participant) -> None:
        unsaved = self._unsaved.get(participant.call.tokens.ref)
        result = self._outcome(participant)
        if unsaved is not None and holds_live_token(result) and participant.call.sending.hook:
            error = unsaved.for_another()
            error.outcomes = (result,)  # type: ignore[assignment]
            result = error
        participant.result, participant.served = result, True
        if not participant.done.done():
            participant.done.set_result(None)
