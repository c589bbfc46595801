"""``mesh-refresh sandbox``: a fake Mesh, and the service over it."""

from mesh_refresh.cli.sandbox.command import sandbox

__all__ = ["sandbox"]
