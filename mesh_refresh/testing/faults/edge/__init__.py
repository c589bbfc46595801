"""A proxy in front of a FakeMesh that damages replies byte by byte, and what it can do to them."""

from mesh_refresh.testing.faults.edge.bodies import Body, Chunks
from mesh_refresh.testing.faults.edge.edge import Edge, Relay
from mesh_refresh.testing.faults.edge.fault import EdgeFault
from mesh_refresh.testing.faults.edge.reach import Reach
from mesh_refresh.testing.faults.edge.replies import Moment

__all__ = ["Body", "Chunks", "Edge", "EdgeFault", "Moment", "Reach", "Relay"]
