"""Arguments that are wrong, said before any I/O."""

from typing import Any

from mesh_refresh.client.calls import SendOptions
from mesh_refresh.client.delivery import working_for
from mesh_refresh.client.exchange import Exchange
from mesh_refresh.errors import InvalidRequest


def check_not_waiting_for_itself(
    exchange: Exchange, what: str = "to refresh the very tokens that it works for"
) -> None:
    """Raises `InvalidRequest` where code of the user's would wait for the very exchange that waits for it."""
    if exchange.delivery.number == working_for.get():
        part = "on_outcome" if exchange.answered is not None else "The transport, the secret or before_send"
        raise InvalidRequest(f"{part} asked {what}.")


def check_sending(sending: object) -> None:
    """Raises `InvalidRequest` for anything but `SendOptions`."""
    if not isinstance(sending, SendOptions):
        raise InvalidRequest("sending takes SendOptions.")


def is_a(value: object, cls: Any) -> bool:
    """`isinstance` for arguments whose declared type leaves type checkers no other case."""
    return isinstance(value, cls)
