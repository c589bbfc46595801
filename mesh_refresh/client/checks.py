"""Arguments that are wrong, said before any I/O."""

from typing import Any

from mesh_refresh.client.calls import SendOptions
from mesh_refresh.client.delivery import being_told
from mesh_refresh.client.exchange import Exchange
from mesh_refresh.errors import InvalidRequest


def check_not_waiting_for_itself(
    exchange: Exchange, what: str = "to refresh the very tokens that it is being told of"
) -> None:
    """Raises `InvalidRequest` in a hook that would wait for the exchange that waits for it."""
    if exchange.delivery.number == being_told.get():
        raise InvalidRequest(f"on_outcome asked {what}.")


def check_sending(sending: object) -> None:
    """Raises `InvalidRequest` for anything but `SendOptions`."""
    if not isinstance(sending, SendOptions):
        raise InvalidRequest("sending takes SendOptions.")


def is_a(value: object, cls: Any) -> bool:
    """`isinstance`, out of sight of type checkers: they believe that nobody ever passes anything else."""
    return isinstance(value, cls)
