"""A refresh token that a reply leaves in force is not taken for a spent one."""

import json
from typing import Any

from mesh_refresh import HttpReply, HttpRequest, MeshClient, Tokens


class TwoAccounts:
    """Answers with two accounts: the one asked for keeps its refresh token, its sibling has another."""

    def __init__(self) -> None:
        self.requests = 0

    async def send(self, request: HttpRequest) -> HttpReply:
        await request.before_send()
        self.requests += 1
        entries: list[dict[str, Any]] = [
            {"account": {"accountId": "asked"}, "accessToken": f"fake-access-{self.requests}"},
            {"account": {"accountId": "sibling"}, "accessToken": "fake-access", "refreshToken": "fake-sibling"},
        ]
        content = {"status": "succeeded", "brokerAccountTokens": entries}
        return HttpReply(200, {}, json.dumps({"status": "ok", "content": content}).encode())

    async def aclose(self) -> None:
        pass


async def test_a_kept_token_is_sent_again() -> None:
    """An account that keeps its refresh token is refreshed anew each time, whatever tokens its siblings have."""
    transport = TwoAccounts()
    async with MeshClient("fake-id", "fake-secret", transport=transport) as mesh:
        tokens = Tokens("kraken", "fake-refresh", account_id="asked")
        first = await mesh.refresh(tokens)
        second = await mesh.refresh(tokens)
    assert transport.requests == 2
    assert first.tokens.access_token != second.tokens.access_token
    assert second.tokens.refresh_token == "fake-refresh"
