"""The client: one exchange with ``POST /api/v1/token/refresh``, by the right strategy, with a typed outcome."""

from mesh_refresh.client.calls import SendOptions
from mesh_refresh.client.keys import PRODUCTION_URL, SANDBOX_URL
from mesh_refresh.client.mesh_client import MeshClient

__all__ = ["PRODUCTION_URL", "SANDBOX_URL", "MeshClient", "SendOptions"]
