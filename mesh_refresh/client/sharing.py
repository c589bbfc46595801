"""What a call does about other exchanges of its token. Pure.

Two exchanges of one token never run at once. `decide` names the next step of a call: begin an exchange, share one that
is under way, take the answer that is remembered of one, or wait for one to end. After the waiting, `learn` says what
the end of that exchange means for the call. `MeshClient` executes the steps.
"""

from collections.abc import Mapping
from typing import TypeAlias

from attrs import evolve, frozen

from mesh_refresh.client.answers import Answered
from mesh_refresh.client.calls import Call, goes_ahead_after, own_tokens
from mesh_refresh.client.exchange import Exchange
from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.replies.outcomes import MfaRequired, Refreshed


@frozen(eq=False)
class Turn:
    """A call, with what it has learned of other exchanges so far."""

    call: Call
    has_waited: bool = False
    used: frozenset[Answered] = frozenset()
    """Answers that have nothing more for its account."""

    def after(self, step: "Join | Recall", outcome: Refreshed | MfaRequired) -> "Turn | None":
        """The turn after `step`. None: its outcome answers the call.

        An answer to another account's exchange has no access token for the account of the call, which then goes on.
        """
        call = step.call if isinstance(step, Recall) else self.call
        answered = step.answered if isinstance(step, Recall) else step.exchange.answered
        is_final = isinstance(step, Recall) and step.is_final
        if is_final or answered is None or not answered.leaves_out(call, outcome):
            return None
        # Where the exchange rotated the credential of both accounts, the call goes on with the new one.
        own = own_tokens(outcome)
        return evolve(self, call=call if own is None else call.successor(own), used=self.used | {answered})


@frozen
class Begin:
    """Begin an exchange: none of this token is under way or remembered."""


@frozen(eq=False)
class Join:
    """Share an exchange under way whose request equals that of the call."""

    exchange: Exchange


@frozen(eq=False)
class Recall:
    """Take a remembered answer."""

    answered: Answered
    call: Call
    """The call as it stands before the answer: with the newest tokens that were given out before it."""
    is_final: bool = False
    """Whether the call ends with this answer, also where that has no access token for its account."""


@frozen(eq=False)
class WaitForEnd:
    """Wait for the end of an exchange of the same token with another request. Then `learn` what that means."""

    exchange: Exchange


@frozen(eq=False)
class WaitForNewer:
    """Wait for the end of an exchange that spends the newest tokens of the chain. Its outcome is newer still."""

    exchange: Exchange


@frozen(eq=False)
class Fail:
    """Raise the error of an exchange of this token: another one could not end better."""

    error: MeshRefreshError


Step: TypeAlias = Begin | Join | Recall | WaitForEnd | WaitForNewer | Fail


def decide(turn: Turn, newest: tuple[Answered, Call] | None, running: Mapping[str, Exchange]) -> Step:
    """The next step of a call.

    `newest` is the last remembered answer in the chain that begins with the token of the call, and the call as it
    stands before that. `running` has the exchanges under way by the key of their calls.
    """
    call = turn.call
    if newest is not None and newest[0] not in turn.used:
        answered, latest = newest
        after = own_tokens(answered.outcome_for(latest))
        renewing = None if after is None else running.get(latest.key_for(after) or "")
        return Recall(answered, latest) if renewing is None else WaitForNewer(renewing)
    exchange = running.get(call.key)
    if exchange is None:
        return Begin()
    # An exchange whose answer is used may not have ended: its other callers may still be told.
    if exchange.ended is None and exchange.call.equals(call) and exchange.answered not in turn.used:
        return Join(exchange)
    return WaitForEnd(exchange)


def learn(turn: Turn, exchange: Exchange) -> Turn | Recall | Fail:
    """What the end of an exchange of the same token means: a turn to decide anew with, or the end of the call."""
    call, answered = turn.call, exchange.answered
    result = exchange.result_for(call)
    own = own_tokens(result)
    if own is None and answered is not None and answered.leaves_out(call, result):
        return evolve(turn, used=turn.used | {answered})
    if isinstance(result, MeshRefreshError) and goes_ahead_after(result):
        return turn
    # After an exchange with a code, the call is not built anew: that would ask the person for another code at once.
    if isinstance(result, Refreshed) and own is not None and not (call.pending or exchange.call.pending):
        return evolve(turn, call=call.successor(own))
    if answered is not None:
        return Recall(answered, call, is_final=True)
    return Fail(result) if isinstance(result, MeshRefreshError) else turn
