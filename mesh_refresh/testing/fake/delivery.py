"""Delivery: what a fault does to the new pair. Sent: the parts of a request that a fault may use."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from attrs import field, frozen

from mesh_refresh.masking import masked_values


class Delivery(Enum):
    """What becomes of the pair under a fault."""

    UNTOUCHED = "Mesh does nothing: the tokens that were sent stay in force"
    WHOLE = "Mesh does its work, and the reply can be read as what it is"
    BURIED = "Mesh does its work; the new pair is on the wire whole, but not in a reply that reads as a success"
    WITHHELD = "Mesh does its work, and the new pair is not on the wire, or not whole"


@frozen
class Sent:
    """The parts of a request that a fault may use."""

    body: Mapping[str, Any] = field(repr=masked_values)
    headers: Mapping[str, str] = field(repr=masked_values)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret that was sent."""
        names = ("X-Client-Id", "X-Client-Secret")
        keys = [value for name, value in self.headers.items() if name.lower() in map(str.lower, names)]
        return (*(str(value) for name, value in self.body.items() if name != "type" and value), *keys)
