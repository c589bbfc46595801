"""A broker without refresh tokens, as Bitfinex is: an exchange spends the access token, and brings the next one."""

import asyncio
import json
from typing import Any

from mesh_refresh import (
    DefaultStrategy,
    HttpReply,
    HttpRequest,
    InvalidRequest,
    MfaRequired,
    OutcomeUnknown,
    RefreshOptions,
    RefreshRequest,
    Tokens,
)

BROKER = "bitfinexDirect"
PLACEHOLDER = "unused"
"""What the contract wants in the place of a refresh token: the same for everybody."""


class SpendsAccessTokens(DefaultStrategy):
    """Sends the access token, and a word where the refresh token would be."""

    def build(self, tokens: Tokens, options: RefreshOptions) -> RefreshRequest:
        if tokens.access_token is None:
            raise InvalidRequest("There is no access token; nothing was sent.")
        return RefreshRequest(
            tokens.broker, PLACEHOLDER, options.create_new_refresh_token, tokens.access_token, metadata=tokens.metadata
        )

    def build_mfa(self, pending: MfaRequired, code: str) -> RefreshRequest:
        if not code.strip():
            raise InvalidRequest("The code is empty; nothing was sent.")
        tokens, access_token = pending.tokens, pending.access_token
        return RefreshRequest(
            tokens.broker, PLACEHOLDER, access_token=access_token, mfa_code=code, metadata=tokens.metadata
        )

    def credential(self, tokens: Tokens) -> str | None:
        return tokens.access_token


class AccessBroker:
    """A transport that is Mesh and that broker at once. A spent token is refused, and told in `reuses`."""

    def __init__(self) -> None:
        self.live: dict[str, str] = {}
        """Access tokens that are good, each with the person whose it is."""
        self.sent: list[str] = []
        self.reuses: list[str] = []
        self.cut = 0
        """So many replies do not come, though the token was spent."""
        self.named: tuple[str, ...] = ()
        """The accounts that a reply lists, all with the one new token; none: a nameless entry."""
        self._numbers = 0

    def login(self, person: str) -> Tokens:
        """Somebody logs in."""
        self._numbers += 1
        token = f"a-{person}-{self._numbers}"
        self.live[token] = person
        return Tokens(BROKER, access_token=token)

    async def send(self, request: HttpRequest) -> HttpReply:
        await request.before_send()
        await asyncio.sleep(0)  # as each real one does: an exchange takes its first step at once from Python 3.12 on
        body = json.loads(request.body)
        token = body["accessToken"]
        self.sent.append(token)
        person = self.live.pop(token, None)
        if person is None:
            self.reuses.append(token)
            return _reply(400, {"status": "badRequest", "message": "Unauthorized token", "errorType": "badRequest"})
        fresh = self.login(person).access_token
        if self.cut:
            self.cut -= 1
            raise OutcomeUnknown
        entries: list[dict[str, Any]] = [{"account": {"accountId": name}, "accessToken": fresh} for name in self.named]
        content = {"expiresInSeconds": 3600, "brokerAccountTokens": entries or [{"accessToken": fresh}]}
        return _reply(200, {"status": "ok", "content": {"status": "succeeded", **content}})

    async def aclose(self) -> None:
        pass


def _reply(status: int, payload: dict[str, Any]) -> HttpReply:
    return HttpReply(status, {"Content-Type": "application/json"}, json.dumps(payload).encode())
