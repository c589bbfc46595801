"""The testing kit: Mesh and its brokers as a fake that keeps a ledger, a clock to move, conformance suites."""

from mesh_refresh.testing.clock import ManualClock
from mesh_refresh.testing.conformance import StrategyConformance
from mesh_refresh.testing.delivery import Delivery
from mesh_refresh.testing.edge import Body, Chunks, Edge, EdgeFault, Moment, Reach, Relay
from mesh_refresh.testing.faults import Fault
from mesh_refresh.testing.gate import Gate
from mesh_refresh.testing.ledger import End, Reuse, Undelivered
from mesh_refresh.testing.login import FakeLogin
from mesh_refresh.testing.losses import Lost, Reason
from mesh_refresh.testing.mesh import FakeMesh
from mesh_refresh.testing.misplacements import Misplaced
from mesh_refresh.testing.options import LoginOptions, MfaToken, Replies, Sharing, WrongCode
from mesh_refresh.testing.store_conformance import StoreConformance
from mesh_refresh.testing.traffic import SentRequest
from mesh_refresh.testing.transport_conformance import Shortfall, TransportConformance
from mesh_refresh.testing.unused import UnusedFault

__all__ = [
    "Body",
    "Chunks",
    "Delivery",
    "Edge",
    "EdgeFault",
    "End",
    "FakeLogin",
    "FakeMesh",
    "Fault",
    "Gate",
    "LoginOptions",
    "Lost",
    "ManualClock",
    "MfaToken",
    "Misplaced",
    "Moment",
    "Reach",
    "Reason",
    "Relay",
    "Replies",
    "Reuse",
    "SentRequest",
    "Sharing",
    "Shortfall",
    "StoreConformance",
    "StrategyConformance",
    "TransportConformance",
    "Undelivered",
    "UnusedFault",
    "WrongCode",
]
