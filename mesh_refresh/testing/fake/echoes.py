"""Replies that give back what was sent."""

from collections.abc import Mapping
from typing import Any

from mesh_refresh.enums import ApiStatus, AuthStatus
from mesh_refresh.testing.fake import wire
from mesh_refresh.testing.fake.wire import Wire
from mesh_refresh.testing.model.contract import envelope


def echoing(code: int, secrets: tuple[str, ...]) -> Wire:
    """An error whose messages repeat `secrets`."""
    said = "You sent " + " and ".join(secrets)
    payload = envelope(
        ApiStatus.BAD_REQUEST, said, displayMessage=said, errorType="badRequest", errorData={"sent": list(secrets)}
    )
    return wire.json_reply(code, payload)


def quoting(code: int, secrets: tuple[str, ...]) -> Wire:
    """An error whose statuses repeat `secrets`."""
    said = "unheard of: " + " and ".join(secrets)
    return wire.json_reply(code, envelope(said, content={"status": said}))


def repeated(status: str, body: Mapping[str, Any]) -> Wire:
    """A success under `status` with the tokens in `body`, which was sent, and no others."""
    pair = {name: body[name] for name in ("accessToken", "refreshToken") if name in body}
    content = {"status": str(AuthStatus.SUCCEEDED), "brokerAccountTokens": [pair]}
    return wire.json_reply(200, envelope(str(status), content=content))
