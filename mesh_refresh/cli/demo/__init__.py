"""``mesh-refresh demo``: a keeper at work on a mixed fleet, against a fake Mesh on loopback."""

from mesh_refresh.cli.demo.command import demo

__all__ = ["demo"]
