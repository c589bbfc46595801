"""`MeshClient` and `Keeper` for programs without an event loop: Django, Flask, Celery, scripts, notebooks.

`sync.Keeper(MeshClient.from_env, lambda: SqliteStore.open("fleet.db", cipher=cipher))` has the verbs of
`mesh_refresh.keeper.Keeper` as ordinary methods. One event loop in one daemon thread does the work of a process.
"""

from mesh_refresh.sync.keeper import Keeper
from mesh_refresh.sync.mesh_client import MeshClient

__all__ = ["Keeper", "MeshClient"]
