"""Replies of every form that means the same, and strategies that change what comes of them, for the merge model."""

import json
from datetime import datetime
from enum import Enum
from typing import Any

from attrs import evolve

from mesh_refresh import (
    DefaultStrategy,
    HttpReply,
    MfaRequired,
    Refreshed,
    RefreshOptions,
    RefreshRequest,
    Reply,
    Tokens,
    codec,
)
from tests.keeper.making import START


class Place(Enum):
    """Where a reply puts the new refresh token of the account asked for."""

    ENTRY = "in its entry"
    TOP = "at the top level, without an account"
    LOOSE = "in an entry of its own, without an account"
    SIBLINGS = "in the entries of those that share it, and not in its own"


def placed(
    entries: dict[str, dict[str, Any]], asked: str, new: str | None, place: Place, *, share: bool
) -> dict[str, Any]:
    """The content of a reply with these entries."""
    sharing = [name for name, it in entries.items() if name != asked and it.get("refreshToken") == new]
    listed = list(entries.values())
    content: dict[str, Any] = {"status": "succeeded", "expiresInSeconds": 3600, "brokerAccountTokens": listed}
    if new is None or place is Place.ENTRY or (place is Place.SIBLINGS and len(sharing) < 2):
        return content
    del entries[asked]["refreshToken"]
    if place is Place.TOP:
        content["refreshToken"] = new
    elif place is Place.LOOSE:
        listed.append({"refreshToken": new})
    if place is not Place.SIBLINGS and share:
        for name in sharing:
            del entries[name]["refreshToken"]
    return content


def account_after(kept: Tokens, live: str, strategy: "Plain") -> Tokens:
    """`kept` with the live refresh token."""
    return strategy.kept(evolve(strategy.bare(kept), refresh_token=live))


def replied(content: dict[str, Any]) -> Reply:
    body = json.dumps({"status": "ok", "content": content}).encode()
    return codec.decode_reply(HttpReply(200, {}, body), at=START)


class Plain(DefaultStrategy):
    """Believes the reply; the others here change what comes of it."""

    def bare(self, tokens: Tokens) -> Tokens:
        """`tokens` as the broker knows them."""
        return tokens

    def named(self, account_id: str | None) -> str:
        """The broker's name of an account."""
        return account_id or ""

    def kept(self, tokens: Tokens) -> Tokens:
        """The same as they are stored."""
        return tokens

    def build(self, tokens: Tokens, options: RefreshOptions) -> RefreshRequest:
        return super().build(self.bare(tokens), options)

    def interpret(self, request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Refreshed | MfaRequired:
        outcome = super().interpret(request, tokens, reply, at)
        assert isinstance(outcome, Refreshed)
        return self.changed(outcome)

    def changed(self, outcome: Refreshed) -> Refreshed:
        return evolve(outcome, all_tokens=tuple(self.kept(self.bare(it)) for it in outcome.all_tokens))


class Decorates(Plain):
    """Access tokens and refresh tokens are stored in another form."""

    def bare(self, tokens: Tokens) -> Tokens:
        refresh, access = tokens.refresh_token, tokens.access_token
        return evolve(
            tokens,
            refresh_token=refresh and refresh.removeprefix("v1:"),
            access_token=access and access.removeprefix("v1:"),
        )

    def kept(self, tokens: Tokens) -> Tokens:
        refresh, access = tokens.refresh_token, tokens.access_token
        return evolve(tokens, refresh_token=refresh and f"v1:{refresh}", access_token=access and f"v1:{access}")


class Renames(Plain):
    """Accounts are stored under other ids than the broker's."""

    def named(self, account_id: str | None) -> str:
        return (account_id or "").removeprefix("no. ")

    def bare(self, tokens: Tokens) -> Tokens:
        return evolve(tokens, account_id=self.named(tokens.account_id))

    def kept(self, tokens: Tokens) -> Tokens:
        return evolve(tokens, account_id=tokens.account_id and f"no. {tokens.account_id}")

    def interpret(self, request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Refreshed | MfaRequired:
        outcome = super().interpret(request, self.bare(tokens), reply, at)
        return evolve(outcome, before=tokens)


class Turns(Plain):
    """Gives the entries in another order."""

    def changed(self, outcome: Refreshed) -> Refreshed:
        turned = outcome.all_tokens[::-1]
        asked = None if outcome.asked is None else len(turned) - 1 - outcome.asked
        return evolve(outcome, all_tokens=turned, asked=asked)


class Omits(Plain):
    """Takes away all that the reply did not bring."""

    def changed(self, outcome: Refreshed) -> Refreshed:
        shorn = [
            it
            if index == outcome.asked or "refresh_token" in brought
            else evolve(it, refresh_token=None, metadata=None)
            for index, (it, brought) in enumerate(zip(outcome.all_tokens, outcome.brought, strict=True))
        ]
        return evolve(outcome, all_tokens=tuple(shorn))


STRATEGIES = (Plain(), Decorates(), Renames(), Turns(), Omits())
