"""Strategies of users: they keep tokens in a form of their own, or spend access tokens."""

from typing import Any

from attrs import evolve

from mesh_refresh import MfaRequired, Refreshed, RefreshRequest, Tokens
from mesh_refresh.logins import Account, Login
from mesh_refresh.stores import Row, sealing
from mesh_refresh.stores.sealing import Sealing
from mesh_refresh.strategies import DefaultStrategy
from tests.simulation.choices import BITFINEX

_WRAPPED, _BEARER = "v1:", "Bearer "


class Decorates(DefaultStrategy):
    """Access tokens are kept in the form in which the broker's API wants them."""

    def interpret(self, *args: Any) -> Refreshed | MfaRequired:
        outcome = super().interpret(*args)
        return evolve(outcome, all_tokens=tuple(self.changed(it) for it in outcome.all_tokens))

    def finish(self, request: RefreshRequest, tokens: Tokens) -> RefreshRequest:
        sent = bare(Tokens(tokens.broker, request.refresh_token, access_token=request.access_token))
        return evolve(request, refresh_token=sent.refresh_token or "", access_token=sent.access_token)

    def changed(self, tokens: Tokens) -> Tokens:
        access = tokens.access_token
        return tokens if access is None else evolve(tokens, access_token=_BEARER + access.removeprefix(_BEARER))


class Wraps(Decorates):
    """Refresh tokens are kept under another name than they are sent by."""

    def credential(self, tokens: Tokens) -> str | None:
        return bare(tokens).refresh_token

    def changed(self, tokens: Tokens) -> Tokens:
        token = tokens.refresh_token
        return tokens if token is None else evolve(tokens, refresh_token=_WRAPPED + token.removeprefix(_WRAPPED))


class Omits(DefaultStrategy):
    """Gives the entries in another order, and none of the ends of refresh tokens."""

    def interpret(self, *args: Any) -> Refreshed | MfaRequired:
        outcome = super().interpret(*args)
        if isinstance(outcome, MfaRequired) or outcome.asked is None:
            return outcome
        turned = tuple(evolve(it, refresh_token_expires_at=None) for it in reversed(outcome.all_tokens))
        return evolve(outcome, all_tokens=turned, asked=len(turned) - 1 - outcome.asked)


class SpendsAccessTokens(DefaultStrategy):
    """For logins without refresh tokens, whose access token an exchange spends."""

    def credential(self, tokens: Tokens) -> str | None:
        return tokens.access_token


MIXED = {BITFINEX: SpendsAccessTokens(send_access_token=True)}
ODD = {"coinbase": Decorates(), "robinhood": Wraps(), "kraken": Wraps(), "etoro": Omits()}


def is_kept(account: Account) -> bool:
    """Whether a refresh token that came by a reply is kept in the form that its strategy gave it."""
    token = account.tokens.refresh_token
    wraps = isinstance(ODD.get(str(account.tokens.broker)), Wraps)
    return token is None or not wraps or not account.produced_by or token.startswith(_WRAPPED)


def bare(tokens: Tokens) -> Tokens:
    """`tokens` as the broker has issued them. What an exchange spends is shown as the refresh token."""
    token, access = tokens.refresh_token, tokens.access_token
    token = access if tokens.broker == BITFINEX else token
    return evolve(
        tokens,
        refresh_token=token and token.removeprefix(_WRAPPED),
        access_token=access and access.removeprefix(_BEARER),
    )


def opened(cipher: Sealing, row: Row) -> Login:
    """The login of a row, with its tokens as the broker has issued them."""
    login = sealing.open_row(cipher, row)
    return login.having(tuple(evolve(account, tokens=bare(account.tokens)) for account in login.accounts))
