"""The store that forgets: for tests, and to read what a store does."""

from mesh_refresh.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
