"""``mesh-refresh demo``: a keeper refreshes a mixed fleet at a fake Mesh on loopback."""

from mesh_refresh.cli.demo.command import demo

__all__ = ["demo"]
