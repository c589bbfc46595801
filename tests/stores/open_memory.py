"""A MemoryStore into which a test looks, and in which it changes what it likes, as an UPDATE does in a database."""

from typing import Any

from mesh_refresh.stores import MemoryStore


class OpenMemory(MemoryStore):
    """Its rows can be changed behind its back."""

    def kept(self, login_id: str) -> Any:
        """The row with its lease; None where there is none."""
        return self._kept.get(login_id)

    def forget(self, login_id: str) -> None:
        """As a DELETE does it."""
        del self._kept[login_id]

    def resume_all(self) -> None:
        """At once."""
        self._paused.clear()
