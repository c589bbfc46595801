"""What every strategy must make of the tokens in a reply: take what came, and keep what did not."""

from datetime import timedelta
from functools import partial
from typing import Any

from mesh_refresh.errors import ClientRefused, TokensRefused
from mesh_refresh.protocols import RefreshOptions
from mesh_refresh.replies.outcomes import AccountNotInReply, CodeRefused
from mesh_refresh.testing.conformance.strategy_kit import (
    AT,
    StrategyKit,
    content,
    entry,
    enveloped,
    evolve_tokens,
    raised,
    raises,
    success,
)

_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_EXACT = " new|token/#%20+=\t\N{SNOWMAN} "
_OLD_ENDS: dict[str, Any] = {
    "expires_at": AT + _MINUTE,
    "refresh_token_expires_at": AT + _DAY,
    "mesh_account_id": "mesh-1",
    "account_name": "Main",
    "broker_name": "A Broker",
}


class CarryingCases(StrategyKit):
    """Tests of what `interpret` takes from a reply, and of what it carries over."""

    def test_interpret_is_pure(self) -> None:
        """Equal replies give equal outcomes, of what was sent; the tokens stay as they were."""
        for reply in (success(accessToken="a", refreshToken="r"), content(status="mfaRequired")):
            tokens, strategy = self.make_tokens(), self.make_strategy()
            request = strategy.build(tokens, RefreshOptions())
            outcome = strategy.interpret(request, tokens, reply, AT)
            assert outcome == strategy.interpret(request, tokens, reply, AT)
            assert outcome == self.make_strategy().interpret(request, self.make_tokens(), reply, AT)
            assert outcome.before == tokens == self.make_tokens(), "before is not what was sent"
            assert outcome.reply == reply, "the reply is not the one that came"

    def test_tokens_come_as_they_were_sent(self) -> None:
        """A token is taken to the byte, blanks and all, for the account asked for and for another one."""
        new = {"accessToken": f"{_EXACT}a", "refreshToken": f"{_EXACT}r", "tokenId": f"{_EXACT}i"}
        outcome = self._refreshed({**entry("acc-1"), **new}, {**entry("acc-2"), **new})
        for tokens in outcome.all_tokens:
            found = (tokens.access_token, tokens.refresh_token, tokens.token_id)
            assert found == tuple(new.values()), f"a token of {tokens.account_id} is not what came"

    def test_a_new_token_id_is_taken(self) -> None:
        """It is what the next call to Mesh needs: an access token from before does not stand in front of it."""
        changes: tuple[dict[str, Any], ...] = ({}, {"token_id": "old-id"}, {"token_id": "old-id", "access_token": None})
        for old in filter(self._can_be_sent, changes):
            outcome = self._interpret(success(brokerAccountTokens=[{**entry("acc-1"), "tokenId": "new-id"}]), **old)
            found = (outcome.tokens.token_id, outcome.tokens.auth_token)
            assert found == ("new-id", "new-id"), f"the new token id is lost, or behind an old token, after {old}"

    def test_an_end_belongs_to_its_token(self) -> None:
        """A new token has the end that came with it, or none that is known; what is kept keeps its end."""
        ends = {"expiresInSeconds": 60, "refreshTokenExpiresInSeconds": 86_400}
        both, access, refresh = entry("acc-1", "a", "r"), entry("acc-1", "a"), entry("acc-1", None, "r")
        later = (AT + timedelta(seconds=60), AT + timedelta(seconds=86_400))
        old = (_OLD_ENDS["expires_at"], _OLD_ENDS["refresh_token_expires_at"])
        cases: tuple[tuple[dict[str, Any], dict[str, int], tuple[object, object]], ...] = (
            (both, ends, later),
            (both, {}, (None, None)),
            (both, dict.fromkeys(ends, 0), (None, None)),
            (both, dict.fromkeys(ends, -5), (None, None)),
            (access, {"expiresInSeconds": 60}, (later[0], old[1])),
            (access, {}, (None, old[1])),
            (refresh, {"refreshTokenExpiresInSeconds": 86_400}, (old[0], later[1])),
            (refresh, {}, (old[0], None)),
        )
        for given, told, expected in cases:
            reply = success(brokerAccountTokens=[given], **told)
            tokens = self._interpret(reply, **_OLD_ENDS).tokens
            found = (tokens.expires_at, tokens.refresh_token_expires_at)
            assert found == expected, f"the ends after {sorted(given)} with {told} are {found}, not {expected}"
            assert tokens.obtained_at == AT, "tokens were obtained when the request was sent"

    def test_all_else_is_carried_over(self) -> None:
        """Metadata, trade token, ids, names, ref stay, of the account asked for; siblings have what is the login's."""
        entries = [entry("acc-1", "a", "r"), entry("acc-2", "b", "s")]
        for status in ("succeeded", "mfaRequired"):
            outcome = self._interpret(content(status=status, brokerAccountTokens=entries), **_OLD_ENDS)
            sent = self.make_tokens()
            for tokens in (outcome.tokens, *outcome.all_tokens):
                for name in ("metadata", "trade_token", "broker"):
                    found = getattr(tokens, name)
                    assert found == getattr(sent, name), f"{name} of {tokens.account_id} is {found!r}"
                assert tokens.broker_name == "A Broker", f"broker_name of {tokens.account_id} is lost"
            own = outcome.tokens
            ids = (own.account_id, own.mesh_account_id, own.account_name, own.ref)
            assert ids == (sent.account_id, "mesh-1", "Main", sent.ref), f"ids, name and ref became {ids!r}"

    def test_a_ref_is_of_the_account_asked_for(self) -> None:
        """No other account is given it, nor an id, nor a token, of the one asked for."""
        entries = [entry("acc-2", "b"), entry("acc-1", "a", "r"), entry("acc-3", None, "t")]
        for status in ("succeeded", "mfaRequired"):
            outcome = self._interpret(content(status=status, brokerAccountTokens=entries), **_OLD_ENDS)
            refs = {it.account_id: it.ref for it in outcome.all_tokens}
            assert refs == {"acc-1": "user-7", "acc-2": None, "acc-3": None}, f"the refs are {refs}"
            others = [it for it in outcome.all_tokens if it.account_id != "acc-1"]
            names = {name for it in others for name in (it.mesh_account_id, it.account_name)}
            assert names == {None}, "another account has this one's id, or its name"
            mixed = {secret for it in others for secret in (it.access_token, it.refresh_token)} & {"a", "r"}
            assert not mixed, "another account has a token of the one asked for"

    def test_a_question_keeps_what_the_first_reply_renewed(self) -> None:
        """Every entry of an ``mfaRequired`` is in `all_tokens`: siblings that it renewed are not lost."""
        pending = self._asked(entry("acc-1", "a", "r"), entry("acc-2", "b", "s"))
        found = {it.account_id: (it.access_token, it.refresh_token) for it in pending.all_tokens}
        assert found == {"acc-1": ("a", "r"), "acc-2": ("b", "s")}, "an entry of an mfaRequired is lost"
        assert (pending.tokens.account_id, pending.tokens.refresh_token) == ("acc-1", "r")
        assert pending.access_token == "a", "the second request carries the access token of the first reply"
        assert self._asked().all_tokens == ()

    def test_another_account_is_not_the_one_asked_for(self) -> None:
        """A reply that renews only another account is a success, and none of its tokens are given to this one."""
        outcome = self._refreshed(entry("acc-2", "b", "s"))
        raises(AccountNotInReply, lambda: outcome.tokens)
        assert [it.account_id for it in outcome.all_tokens] == ["acc-2"]

    def test_news_is_what_came(self) -> None:
        """`brought` names what the reply had, and not what was carried over: that replaces nothing that is stored."""
        outcome = self._refreshed(entry("acc-1", "a"), entry("acc-2", "b", "s"))
        own, other = outcome.brought
        assert "access_token" in own & other
        assert "refresh_token" in other, "a new refresh token is missing among them"
        assert not own & {"refresh_token", "trade_token", "metadata"}, "what was carried over is news"

    def test_what_is_refused_is_told(self) -> None:
        """Refused tokens, a refused code and refused keys are three errors: only the first needs the person."""
        bad = enveloped("badRequest", None, 400, message="Unauthorized token", errorType="badRequest")
        for reply in (bad, content(status="failed")):
            error = raises(TokensRefused, partial(self._interpret, reply))
            assert (error.needs_reconnect, error.retryable) == (True, False)
            strategy, pending = self.make_strategy(), self._pending()
            request = strategy.build_mfa(pending, "424242")
            raises(CodeRefused, partial(strategy.interpret, request, pending.tokens, reply, AT))
        refused = raises(ClientRefused, lambda: self._interpret(enveloped("permissionDenied", None, 401)))
        assert not refused.needs_reconnect

    def test_requests_carry_what_the_broker_knows_the_login_by(self) -> None:
        """Metadata go out with both requests, as they came."""
        strategy, tokens = self.make_strategy(), self.make_tokens()
        for request in (strategy.build(tokens, RefreshOptions()), strategy.build_mfa(self._pending(), "424242")):
            sent = dict(request.metadata or {})
            kept = {name: sent.get(name) for name in tokens.metadata or {}}
            assert kept == dict(tokens.metadata or {}), "metadata were left out, or changed"

    def _can_be_sent(self, changes: dict[str, Any]) -> bool:
        tokens = evolve_tokens(self.make_tokens(), **changes)
        return raised(lambda: self.make_strategy().build(tokens, RefreshOptions())) is None
