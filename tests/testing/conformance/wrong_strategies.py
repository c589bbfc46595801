"""Strategies that are wrong, each in one thing that the contract says, and the test that finds it out."""

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from mesh_refresh import (
    InvalidRequest,
    MfaRequired,
    OutcomeUnknown,
    Refreshed,
    RefreshOptions,
    RefreshRequest,
    Tokens,
    TokensRefused,
)
from mesh_refresh.codec import decode_reply
from mesh_refresh.messages import HttpReply, Reply
from mesh_refresh.replies.outcomes import UnreadableReply
from mesh_refresh.strategies import DefaultStrategy

Outcome = Refreshed | MfaRequired


@frozen
class Wrong:
    """One wrong thing."""

    what: str
    check: str
    """The test that fails."""
    strategy: Callable[[], DefaultStrategy]


def sending(change: Callable[[RefreshRequest, Tokens], RefreshRequest]) -> Callable[[], DefaultStrategy]:
    """A strategy that changes its requests so."""

    class Sending(DefaultStrategy):
        def finish(self, request: RefreshRequest, tokens: Tokens) -> RefreshRequest:
            return change(request, tokens)

    return lambda: Sending(send_access_token=True)


def having(**methods: Any) -> Callable[[], DefaultStrategy]:
    """A strategy with other methods."""
    return type("Having", (DefaultStrategy,), methods)


def making(change: Callable[[Any], Outcome]) -> Callable[[], DefaultStrategy]:
    """A strategy that changes its outcomes so."""

    class Making(DefaultStrategy):
        def interpret(self, request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Outcome:
            return change(super().interpret(request, tokens, reply, at))

    return lambda: Making(send_access_token=True)


def reading(change: Callable[[RefreshRequest, Tokens, Reply, datetime], Any]) -> Callable[[], DefaultStrategy]:
    """A strategy that reads something else than it is given: what `change` gives is read by the right one."""

    class Reading(DefaultStrategy):
        def interpret(self, request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Outcome:
            return super().interpret(*change(request, tokens, reply, at))

    return lambda: Reading(send_access_token=True)


def each(change: Callable[[Tokens, bool, Any], Tokens]) -> Callable[[Any], Outcome]:
    """A change of every entry: it is told whether that is the one asked for, and the outcome."""

    def changed(outcome: Any) -> Outcome:
        asked = outcome.asked
        found = tuple(change(it, index == asked, outcome) for index, it in enumerate(outcome.all_tokens))
        if isinstance(outcome, MfaRequired):
            own = outcome.tokens if asked is None else found[asked]
            return evolve(outcome, all_tokens=found, tokens=own)
        return evolve(outcome, all_tokens=found)  # type: ignore[no-any-return]

    return changed


def only(kind: type, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A change of outcomes of this kind."""
    return lambda outcome: change(outcome) if isinstance(outcome, kind) else outcome


def field(name: str, value: Callable[[Tokens, Any], object], *, asked: bool | None = None) -> Callable[[Any], Outcome]:
    """A change of one field of every entry; `asked`: only of the one asked for, or only of the others."""
    return each(
        lambda it, own, outcome: evolve(it, **{name: value(it, outcome)}) if asked in (None, own) else it  # type: ignore[arg-type]
    )


def _stripped(value: str | None) -> str | None:
    return value and value.strip()


class Counts(DefaultStrategy):
    """Remembers how often it was asked."""

    numbers = itertools.count()

    def finish(self, request: RefreshRequest, tokens: Tokens) -> RefreshRequest:
        return evolve(request, metadata={**(request.metadata or {}), "number": str(next(self.numbers))})


class Swallows(DefaultStrategy):
    """Takes every error for one that nothing is known of."""

    def interpret(self, request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Outcome:
        try:
            return super().interpret(request, tokens, reply, at)
        except UnreadableReply:
            raise
        except Exception:  # noqa: BLE001
            raise OutcomeUnknown from None


class Blabs(DefaultStrategy):
    """Says in its errors what was refused."""

    def interpret(self, request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Outcome:
        try:
            return super().interpret(request, tokens, reply, at)
        except TokensRefused:
            raise TokensRefused(f"{tokens.access_token} was refused.") from None


class Believes(DefaultStrategy):
    """Takes any 2xx for a success."""

    def interpret(self, request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Outcome:
        try:
            return super().interpret(request, tokens, reply, at)
        except UnreadableReply:
            return Refreshed(tokens, (tokens,), reply)


class NeedsContent(DefaultStrategy):
    """Counts on a reply to have content."""

    def interpret(self, request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Outcome:
        if reply.content is None:
            raise KeyError
        return super().interpret(request, tokens, reply, at)


class Quotes(DefaultStrategy):
    """Says in its errors what was sent."""

    def build(self, tokens: Tokens, options: RefreshOptions) -> RefreshRequest:
        if tokens.refresh_token is None:
            raise InvalidRequest(f"No refresh token beside {tokens.access_token}.")
        return super().build(tokens, options)


class Unmasked(RefreshRequest):
    """A request that shows what is in it."""

    def __repr__(self) -> str:
        return f"Unmasked({self.refresh_token!r}, {self.mfa_code!r})"


def _unmasked(request: RefreshRequest, _: Tokens) -> RefreshRequest:
    names = ("type", "refresh_token", "create_new_refresh_token", "access_token", "trade_token", "mfa_code", "metadata")
    return Unmasked(**{name: getattr(request, name) for name in names})


def _strictly(request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Any:
    """Only what the strictest parser takes."""
    try:
        reply.body.decode("ascii")
        if b"NaN" in reply.body or b"e9" in reply.body or b"\\u" in reply.body or len(reply.body) > 2_000:
            raise ValueError
    except ValueError:
        reply = decode_reply(HttpReply(200, {}, b"<html>"), at=at)
    return request, tokens, reply, at


def _blank_erases(outcome: Any) -> Outcome:
    if '"refreshToken"' in outcome.reply.body.decode("utf-8", "replace") and not outcome.brought[0] & {"refresh_token"}:
        return each(lambda it, own, _: evolve(it, refresh_token=None) if own else it)(outcome)
    return outcome  # type: ignore[no-any-return]


def _without_wait(request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Any:
    return request, tokens, evolve(reply, retry_after=None, asked_to_wait=False), at


_REFRESHED, _QUESTION = Refreshed, MfaRequired
_SIBLINGS = {"asked": False}

WRONG: tuple[Wrong, ...] = (
    # Building.
    Wrong("differs from request to request", "test_build_is_pure", Counts),
    Wrong("trims the refresh token", "test_build_keeps_the_refresh_token_to_the_byte",
          sending(lambda it, _: evolve(it, refresh_token=it.refresh_token.strip()))),
    Wrong("says that it spends another token", "test_build_keeps_the_refresh_token_to_the_byte",
          having(credential=lambda _, tokens: tokens.access_token)),
    Wrong("names a credential where there is none", "test_credential_is_pure",
          having(credential=lambda _, __: "everybody's")),
    Wrong("names no credential where there is one", "test_credential_is_pure", having(credential=lambda *_: None)),
    Wrong("names the account for the credential", "test_a_new_pair_is_another_credential",
          having(credential=lambda _, tokens: tokens.account_id)),
    Wrong("sends another broker", "test_build_keeps_the_contract", sending(lambda it, _: evolve(it, type="other"))),
    Wrong("asks for no new refresh token", "test_build_keeps_the_contract",
          sending(lambda it, _: evolve(it, create_new_refresh_token=None))),
    Wrong("sends a code at first", "test_build_sends_no_code",
          sending(lambda it, _: evolve(it, mfa_code=it.mfa_code or "000000"))),
    Wrong("sends a blank for a missing token", "test_build_refuses_tokens_without_a_refresh_token",
          having(build=lambda _, tokens, __: RefreshRequest(tokens.broker, tokens.refresh_token or ""))),
    Wrong("quotes in its errors", "test_build_refuses_tokens_without_a_refresh_token", Quotes),
    Wrong("raises another error", "test_build_refuses_tokens_without_a_refresh_token",
          having(build=lambda _, tokens, __: RefreshRequest(tokens.broker, tokens.refresh_token or str(1 // 0)))),
    Wrong("shows a token", "test_requests_show_no_secret", sending(_unmasked)),
    Wrong("leaves the metadata out", "test_requests_carry_what_the_broker_knows_the_login_by",
          sending(lambda it, _: evolve(it, metadata=None))),
    Wrong("strips the metadata", "test_requests_carry_what_the_broker_knows_the_login_by",
          sending(lambda it, _: evolve(it, metadata={key: told for key, told in (it.metadata or {}).items() if told}))),
    # Codes.
    Wrong("forgets the code", "test_the_request_with_a_code_carries_all_it_needs",
          sending(lambda it, _: evolve(it, mfa_code=None))),
    Wrong("sends the old access token with a code", "test_the_request_with_a_code_carries_all_it_needs",
          sending(lambda it, _: evolve(it, access_token="old-access"))),
    Wrong("sends the old refresh token with a code", "test_the_request_with_a_code_carries_a_renewed_refresh_token",
          sending(lambda it, _: it if it.mfa_code is None else evolve(it, refresh_token="old"))),
    Wrong("sends an empty code", "test_an_empty_code_is_refused",
          having(build_mfa=lambda self, pending, code: self._request(pending.tokens, pending.access_token, code=code))),
    Wrong("sends a code again", "test_a_code_is_never_sent_again", having(may_resend=lambda *_: True)),
    Wrong("answers with no boolean", "test_a_code_is_never_sent_again",
          having(may_resend=lambda _, request: request.mfa_code is None and "yes")),
    # Interpreting.
    Wrong("differs from reply to reply", "test_interpret_is_pure",
          making(field("ref", lambda *_: next(Counts.numbers)))),
    Wrong("keeps no reply", "test_interpret_is_pure",
          making(lambda it: evolve(it, reply=evolve(it.reply, http_status=299)))),
    Wrong("keeps other tokens for before", "test_interpret_is_pure",
          making(lambda it: evolve(it, before=evolve(it.before, ref="other")))),
    Wrong("erases what a reply leaves out", "test_what_a_reply_leaves_out_is_kept",
          making(lambda it: each(lambda tokens, own, _: evolve(tokens, refresh_token=None)
                                 if own and "refresh_token" not in it.brought[it.asked] else tokens)(it))),
    Wrong("keeps the old pair", "test_a_new_pair_replaces_the_old",
          making(field("refresh_token", lambda _, outcome: outcome.before.refresh_token, asked=True))),
    Wrong("counts from another time", "test_a_new_pair_replaces_the_old",
          reading(lambda request, tokens, reply, at: (request, tokens, reply, at + timedelta(seconds=5)))),
    Wrong("keeps the account asked for alone", "test_every_entry_is_kept",
          making(only(_REFRESHED, lambda it: it if it.asked is None else evolve(
              it, all_tokens=(it.tokens,), asked=0, read=())))),
    Wrong("empties siblings", "test_a_keeper_keeps_every_pair",
          making(field("refresh_token", lambda *_: None, **_SIBLINGS))),
    Wrong("spreads a refresh token", "test_a_keeper_keeps_what_a_reply_leaves_out",
          making(only(_REFRESHED, field("refresh_token", lambda _, it: it.all_tokens[it.asked or 0].refresh_token)))),
    Wrong("takes a question for a success", "test_any_reply_may_ask_for_a_code",
          making(only(_QUESTION, lambda it: Refreshed(it.before, it.all_tokens or (it.tokens,), it.reply)))),
    Wrong("counts on content", "test_odd_replies_raise_nothing_but_our_errors", NeedsContent),
    Wrong("takes a blank for a token", "test_a_blank_token_erases_none", making(only(_REFRESHED, _blank_erases))),
    Wrong("takes an echo for a success", "test_an_echo_is_not_a_renewal", Believes),
    Wrong("reads strict JSON only", "test_what_breaks_the_rules_of_json_costs_no_token", reading(_strictly)),
    Wrong("shows what was sent", "test_a_status_shows_no_token", Blabs),
    Wrong("does not wait", "test_a_wait_in_any_form_is_heeded", reading(_without_wait)),
    Wrong("swallows errors", "test_what_is_refused_is_told", Swallows),
    # What is taken, and what is carried.
    Wrong("strips an access token", "test_tokens_come_as_they_were_sent",
          making(field("access_token", lambda it, _: _stripped(it.access_token)))),
    Wrong("strips a refresh token", "test_tokens_come_as_they_were_sent",
          making(field("refresh_token", lambda it, _: _stripped(it.refresh_token)))),
    Wrong("strips a token id", "test_tokens_come_as_they_were_sent",
          making(field("token_id", lambda it, _: _stripped(it.token_id)))),
    Wrong("drops a new token id", "test_a_new_token_id_is_taken",
          making(field("token_id", lambda _, outcome: outcome.before.token_id))),
    Wrong("leaves the old access token before a new token id", "test_a_new_token_id_is_taken",
          making(field("access_token", lambda it, outcome: it.access_token or outcome.before.access_token))),
    Wrong("drops the refresh token's end", "test_an_end_belongs_to_its_token",
          making(field("refresh_token_expires_at", lambda *_: None))),
    Wrong("keeps an old end of a new refresh token", "test_an_end_belongs_to_its_token",
          making(field("refresh_token_expires_at",
                       lambda it, outcome: it.refresh_token_expires_at or outcome.before.refresh_token_expires_at))),
    Wrong("keeps an old end of a new access token", "test_an_end_belongs_to_its_token",
          making(field("expires_at", lambda it, outcome: it.expires_at or outcome.before.expires_at))),
    Wrong("drops the end of what is kept", "test_an_end_belongs_to_its_token",
          making(lambda it: each(lambda tokens, own, _: evolve(tokens, expires_at=None)
                                 if own and "expires_at" not in it.brought[it.asked] else tokens)(it))),
    Wrong("takes no lifetime for an end", "test_an_end_belongs_to_its_token",
          making(field("expires_at", lambda it, _: it.expires_at or it.obtained_at))),
    Wrong("forgets when tokens were obtained", "test_an_end_belongs_to_its_token",
          making(field("obtained_at", lambda _, outcome: outcome.before.obtained_at))),
    Wrong("drops metadata", "test_all_else_is_carried_over", making(field("metadata", lambda *_: None))),
    Wrong("drops a sibling's metadata", "test_all_else_is_carried_over",
          making(field("metadata", lambda *_: None, **_SIBLINGS))),
    Wrong("drops the trade token", "test_all_else_is_carried_over", making(field("trade_token", lambda *_: None))),
    Wrong("drops Mesh's id", "test_all_else_is_carried_over", making(field("mesh_account_id", lambda *_: None))),
    Wrong("drops the ref", "test_all_else_is_carried_over", making(field("ref", lambda *_: None))),
    Wrong("gives the ref to all", "test_a_ref_is_of_the_account_asked_for",
          making(field("ref", lambda _, outcome: outcome.before.ref))),
    Wrong("gives Mesh's id to all", "test_a_ref_is_of_the_account_asked_for",
          making(field("mesh_account_id", lambda _, outcome: outcome.before.mesh_account_id))),
    Wrong("gives the refresh token to all", "test_a_ref_is_of_the_account_asked_for",
          making(only(_REFRESHED, field("refresh_token",
                                        lambda it, outcome: it.refresh_token or outcome.tokens.refresh_token)))),
    Wrong("drops siblings of a question", "test_a_question_keeps_what_the_first_reply_renewed",
          making(only(_QUESTION, lambda it: evolve(it, all_tokens=(it.tokens,) if it.all_tokens else (), read=())))),
    Wrong("drops the access token of a question", "test_a_question_keeps_what_the_first_reply_renewed",
          making(only(_QUESTION, lambda it: evolve(it, access_token=None)))),
    Wrong("takes another account for its own", "test_another_account_is_not_the_one_asked_for",
          making(only(_REFRESHED, lambda it: evolve(it, asked=it.asked or 0)))),
    Wrong("calls everything news", "test_news_is_what_came",
          making(only(_REFRESHED, lambda it: evolve(it, read=tuple(
              evolve(read, fields=read.fields | {"refresh_token", "metadata"}) for read in it.read))))),
    Wrong("calls nothing news", "test_news_is_what_came",
          making(only(_REFRESHED, lambda it: evolve(it, read=tuple(
              evolve(read, fields=frozenset[str]()) for read in it.read))))),
)  # fmt: skip
