"""What every strategy must do, as tests: derive from `StrategyConformance`, and pytest runs them on yours."""

import json
from datetime import timedelta
from functools import partial
from typing import Any

from mesh_refresh.codec import decode_reply, encode_request
from mesh_refresh.errors import InvalidRequest, MeshRefreshError, Throttled, Unavailable
from mesh_refresh.messages import HttpReply, RefreshRequest
from mesh_refresh.protocols import RefreshOptions
from mesh_refresh.replies.outcomes import MfaRequired, Refreshed, UnreadableReply
from mesh_refresh.testing.conformance.strategy_carrying import CarryingCases
from mesh_refresh.testing.conformance.strategy_keeping import login_after
from mesh_refresh.testing.conformance.strategy_kit import (
    AT,
    content,
    entry,
    enveloped,
    evolve_tokens,
    raised,
    raises,
    shown,
    success,
)
from mesh_refresh.testing.fake.odd_replies import BLANK_REPLIES, NEW_TOKEN, SPOILT_REPLIES, WAITS, odd_replies
from mesh_refresh.testing.model.contract import FIELDS
from mesh_refresh.tokens import Tokens

_CODE = "424242"


class StrategyConformance(CarryingCases):
    """Derive a test class from this, say how your strategy is made, and pytest checks it::

        class TestRegionalPaxos(StrategyConformance):
            broker = BrokerType.PAXOS

            def make_strategy(self):
                return RegionalPaxos()

    `broker` is a broker that the strategy is for.
    """

    # Building.

    def test_build_is_pure(self) -> None:
        """Equal tokens give equal requests, from the same strategy and from another, and stay as they were."""
        tokens, strategy = self.make_tokens(), self.make_strategy()
        first = strategy.build(tokens, RefreshOptions())
        assert first == strategy.build(tokens, RefreshOptions())
        assert first == self.make_strategy().build(self.make_tokens(), RefreshOptions())
        assert tokens == self.make_tokens()

    def test_build_keeps_the_refresh_token_to_the_byte(self) -> None:
        """What is spent, mostly the refresh token, goes out as it came, blanks and all."""
        self._assert_spends(self._request(), self.make_tokens())

    def test_credential_is_pure(self) -> None:
        """What an exchange spends is text, the same each time. Tokens without any token have none."""
        tokens, strategy = self.make_tokens(), self.make_strategy()
        spent = strategy.credential(tokens)
        assert isinstance(spent, str), f"these tokens can be refreshed, but credential gives {type(spent).__name__}"
        assert spent == strategy.credential(self.make_tokens()) == self.make_strategy().credential(tokens)
        assert strategy.credential(Tokens(self.broker)) is None, (
            "there is nothing to spend, but credential gives something"
        )

    def test_a_new_pair_is_another_credential(self) -> None:
        """After a reply with a new pair, an exchange spends another token than before."""
        pair = {"accessToken": "new-access", "refreshToken": NEW_TOKEN}
        outcome, strategy = self._interpret(success(brokerAccountTokens=[pair])), self.make_strategy()
        assert strategy.credential(outcome.tokens) not in (None, strategy.credential(self.make_tokens()))

    def test_build_keeps_the_contract(self) -> None:
        """The body has the broker and no field that the contract does not know, nor a null."""
        for create in (None, False, True):
            request = self.make_strategy().build(self.make_tokens(), RefreshOptions(create))
            body: dict[str, Any] = json.loads(encode_request(request))
            assert body.keys() <= FIELDS.keys()
            assert None not in body.values()
            assert body["type"] == str(self.broker)
            assert body.get("createNewRefreshToken") is create

    def test_build_sends_no_code(self) -> None:
        """A first request carries no MFA code."""
        assert self._request().mfa_code is None

    def test_build_refuses_tokens_without_a_refresh_token(self) -> None:
        """Without what is spent nothing can be sent: `InvalidRequest`, a `ValueError`, before any I/O."""
        strategy, tokens = self.make_strategy(), evolve_tokens(self.make_tokens(), refresh_token=None)
        if strategy.credential(tokens) is not None:
            tokens = evolve_tokens(tokens, access_token=None, token_id=None)
        error = raises(InvalidRequest, lambda: self.make_strategy().build(tokens, RefreshOptions()))
        assert isinstance(error, ValueError)
        assert not shown(error, tokens.secrets)

    def test_requests_show_no_secret(self) -> None:
        """The repr of a request shows neither token nor code."""
        requests = (self._request(), self.make_strategy().build_mfa(self._pending(), _CODE))
        for request in requests:
            assert not shown(request, (*self.make_tokens().secrets, "old-metadata", _CODE, "mfa-access"))

    # Codes.

    def test_the_request_with_a_code_carries_all_it_needs(self) -> None:
        """The second request has the code, the access token of the first reply and the refresh token in force."""
        request = self.make_strategy().build_mfa(self._pending(), _CODE)
        assert request.mfa_code == _CODE
        self._assert_spends(request, self._pending().tokens)
        assert request.access_token == "mfa-access"
        assert request.type == self.broker

    def test_the_request_with_a_code_carries_a_renewed_refresh_token(self) -> None:
        """Where the first reply renewed the refresh token, the second request carries the new one."""
        pending = self._pending(refreshToken="renewed")
        self._assert_spends(self.make_strategy().build_mfa(pending, _CODE), pending.tokens)

    def test_an_empty_code_is_refused(self) -> None:
        """An empty code is `InvalidRequest`, before any I/O."""
        for code in ("", "  "):
            raises(InvalidRequest, partial(self.make_strategy().build_mfa, self._pending(), code))

    def test_a_code_is_never_sent_again(self) -> None:
        """A request with a code may not be sent again when the fate of the first is unknown."""
        strategy = self.make_strategy()
        assert strategy.may_resend(strategy.build_mfa(self._pending(), _CODE)) is False
        assert isinstance(strategy.may_resend(self._request()), bool)

    # Interpreting.

    def test_what_a_reply_leaves_out_is_kept(self) -> None:
        """A reply with an access token only: refresh token, trade token, metadata, ids and ref are carried over."""
        for silence in ({}, {"refreshToken": None}, {"refreshToken": ""}):
            entry = {"accessToken": "new-access", **silence}
            outcome = self._interpret(success(brokerAccountTokens=[entry]))
            assert isinstance(outcome, Refreshed)
            old, new = self.make_tokens(), outcome.tokens
            assert new.access_token == "new-access"
            for name in ("broker", "refresh_token", "trade_token", "metadata", "account_id", "ref"):
                assert getattr(new, name) == getattr(old, name), f"{name} was not carried over"

    def test_a_new_pair_replaces_the_old(self) -> None:
        """A new pair is taken over, in an entry and at the deprecated top level; its life counts from the sending."""
        pair = {"accessToken": "new-access", "refreshToken": NEW_TOKEN}
        for parts in ({"brokerAccountTokens": [pair]}, pair):
            outcome = self._interpret(success(expiresInSeconds=60, **parts))
            assert isinstance(outcome, Refreshed)
            assert (outcome.tokens.access_token, outcome.tokens.refresh_token) == ("new-access", NEW_TOKEN)
            assert outcome.tokens.expires_at == AT + timedelta(seconds=60)

    def test_every_entry_is_kept(self) -> None:
        """Every entry with a token is in `all_tokens`, each under its own account, and ours is ours."""
        names = ("acc-2", "acc-1", "acc-3")
        entries = [
            {"account": {"accountId": name}, "accessToken": f"access of {name}", "refreshToken": f"refresh of {name}"}
            for name in names
        ]
        outcome = self._interpret(success(brokerAccountTokens=entries))
        assert isinstance(outcome, Refreshed)
        found = {tokens.account_id: (tokens.access_token, tokens.refresh_token) for tokens in outcome.all_tokens}
        assert found == {name: (f"access of {name}", f"refresh of {name}") for name in names}
        assert outcome.tokens.account_id == "acc-1"

    def test_a_keeper_keeps_every_pair(self) -> None:
        """A keeper stores all that `interpret` made of a reply: no account of the login loses the pair that came."""
        accounts = self._two_accounts()
        entries = [entry("acc-1", "access 1", "refresh 1"), entry("acc-2", "access 2", "refresh 2")]
        outcomes: list[Refreshed | MfaRequired] = []
        login = login_after(accounts, AT, lambda sent: self._exchanged(sent, entries, outcomes), self._credential)
        given = {it.account_id: it for outcome in outcomes for it in outcome.all_tokens}
        for old in accounts:
            assert old.account_id in given, f"the pair of {old.account_id} is lost"
            kept, came = login.account(old.account_id).tokens, given[old.account_id]
            assert (kept.refresh_token, kept.access_token) == (came.refresh_token, came.access_token)
            assert kept.refresh_token != old.refresh_token, f"the new refresh token of {old.account_id} is lost"
            assert kept.access_token != old.access_token, f"the new access token of {old.account_id} is lost"

    def test_a_keeper_keeps_what_a_reply_leaves_out(self) -> None:
        """A sibling that is given an access token only keeps its refresh token, in a keeper and with `onto`."""
        accounts = self._two_accounts()
        entries = [entry("acc-1", "access 1", "refresh 1"), entry("acc-2", "access 2")]
        outcomes: list[Refreshed | MfaRequired] = []
        login = login_after(accounts, AT, lambda sent: self._exchanged(sent, entries, outcomes), self._credential)
        for kept in (login.account("acc-2").tokens, outcomes[0].onto(accounts[1])):
            assert kept.refresh_token == accounts[1].refresh_token, "a sibling's refresh token is lost"
            assert kept.access_token != accounts[1].access_token, "a sibling's new access token is lost"
            assert (kept.metadata, kept.ref) == (accounts[1].metadata, accounts[1].ref)

    def test_any_reply_may_ask_for_a_code(self) -> None:
        """``mfaRequired`` gives `MfaRequired`, which holds the tokens that are still good."""
        outcome = self._interpret(content(status="mfaRequired"))
        assert isinstance(outcome, MfaRequired)
        assert outcome.tokens.refresh_token == self.make_tokens().refresh_token

    def test_odd_replies_raise_nothing_but_our_errors(self) -> None:
        """Every reply gives an outcome or a `MeshRefreshError`. A new token in the reply is in one of the two."""
        for code, body, complete in odd_replies():
            reply = decode_reply(HttpReply(code, {}, body, complete), at=AT)
            try:
                outcome = self._interpret(reply)
            except MeshRefreshError as error:
                kept = isinstance(error, UnreadableReply) and error.may_hold_token and error.body == body
            except Exception as error:
                raise AssertionError(f"HTTP {code}, {body!r}: {error!r} is none of our errors") from error
            else:
                assert isinstance(outcome, Refreshed | MfaRequired), f"HTTP {code}, {body!r}: {outcome!r}"
                kept = any(tokens.refresh_token == NEW_TOKEN for tokens in outcome.all_tokens)
            assert kept or NEW_TOKEN.encode() not in body, f"HTTP {code}, {body!r}: the new token is lost"

    def test_a_blank_token_erases_none(self) -> None:
        """A blank in the place of a token is absent: the refresh token in force stays."""
        for body in BLANK_REPLIES:
            outcome = self._success_of(decode_reply(HttpReply(200, {}, body), at=AT))
            found = [(tokens.access_token, tokens.refresh_token) for tokens in outcome.all_tokens]
            kept = self.make_tokens().refresh_token
            assert found == [("new-access", kept)], f"{body!r} made {len(found)} accounts, or erased a token"

    def test_an_echo_is_not_a_renewal(self) -> None:
        """A reply that only repeats what was sent is no success, unless all statuses say so and a lifetime is given."""
        tokens = self.make_tokens()
        echo = {"accessToken": tokens.access_token, "refreshToken": tokens.refresh_token}
        for status, inner, seconds in (("ok", "succeeded", None), ("badRequest", "succeeded", 60), ("ok", None, 60)):
            content = {"status": inner, "brokerAccountTokens": [echo], "expiresInSeconds": seconds}
            error = raised(partial(self._interpret, enveloped(status, content)))
            assert isinstance(error, MeshRefreshError), f"an echo under {status} and {inner} was taken for a success"
            assert not (isinstance(error, UnreadableReply) and error.may_hold_token)
        outcome = self._interpret(success(brokerAccountTokens=[echo], expiresInSeconds=60))
        assert isinstance(outcome, Refreshed)
        assert outcome.tokens.expires_at == AT + timedelta(seconds=60)

    def test_what_breaks_the_rules_of_json_costs_no_token(self) -> None:
        """Numbers, texts and nestings that strict parsers refuse leave the pair beside them readable."""
        for body in SPOILT_REPLIES:
            outcome = self._success_of(decode_reply(HttpReply(200, {}, body), at=AT))
            assert [tokens.refresh_token for tokens in outcome.all_tokens] == [NEW_TOKEN], f"{body[:120]!r}"

    def test_a_status_shows_no_token(self) -> None:
        """A status that is none of the published ones may quote what was sent: neither outcome nor error shows it."""
        secrets, said = self.make_tokens().secrets, " and ".join(self.make_tokens().secrets)
        for code, parts in ((200, {"accessToken": "new-access"}), (200, {"status": said}), (400, {"status": said})):
            reply = enveloped(said, parts, code).scrubbed(self._request().secrets)  # as the client does
            try:
                seen: object = (reply, self._interpret(reply).reply)
            except MeshRefreshError as error:
                seen = (reply, str(error), error.facts)
            assert not shown(seen, secrets)

    def test_a_wait_in_any_form_is_heeded(self) -> None:
        """What asks to wait has spent nothing, and says for how long."""
        for code in (429, 503):
            for header in WAITS:
                reply = decode_reply(HttpReply(code, {"Retry-After": header}, b""), at=AT)
                error = raised(partial(self._interpret, reply))
                assert isinstance(error, Throttled | Unavailable), f"{code} with Retry-After: {header} is {error!r}"
                assert error.retry_after, f"Retry-After: {header} was not read"

    # What the tests are made of.

    def _assert_spends(self, request: RefreshRequest, tokens: Tokens) -> None:
        spent, body = self.make_strategy().credential(tokens), json.loads(encode_request(request))
        assert spent in (request.refresh_token, request.access_token), "the request does not carry what credential says"
        assert spent in (body.get("refreshToken"), body.get("accessToken"))

    def _two_accounts(self) -> tuple[Tokens, Tokens]:
        first = self.make_tokens()
        second = evolve_tokens(
            first,
            refresh_token="old-refresh-2",
            access_token="old-access-2",
            metadata={"key": "metadata of the other"},
            account_id="acc-2",
            mesh_account_id=None,
            ref="another",
        )
        return first, second

    def _credential(self, tokens: Tokens) -> str | None:
        return self.make_strategy().credential(tokens)

    def _exchanged(
        self, sent: Tokens, entries: list[dict[str, Any]], outcomes: list[Refreshed | MfaRequired]
    ) -> Refreshed | MfaRequired:
        strategy = self.make_strategy()
        request = strategy.build(sent, RefreshOptions())
        outcomes.append(strategy.interpret(request, sent, success(brokerAccountTokens=entries), AT))
        return outcomes[-1]
