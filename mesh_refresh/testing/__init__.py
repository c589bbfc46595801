"""The testing kit: Mesh and its brokers as a fake that keeps a ledger, a clock to move, conformance suites."""

from mesh_refresh.testing.clock import ManualClock
from mesh_refresh.testing.conformance.store import StoreConformance
from mesh_refresh.testing.conformance.store_outbox import OutboxConformance
from mesh_refresh.testing.conformance.store_registry import RegistryConformance
from mesh_refresh.testing.conformance.strategy import StrategyConformance
from mesh_refresh.testing.conformance.transport import Shortfall, TransportConformance
from mesh_refresh.testing.fake.gate import Gate
from mesh_refresh.testing.fake.mesh import FakeMesh
from mesh_refresh.testing.fake.options import LoginOptions, MfaToken, Replies, Sharing, WrongCode
from mesh_refresh.testing.fake.traffic import SentRequest, UnusedFault
from mesh_refresh.testing.fake.wire import Delivery
from mesh_refresh.testing.faults.edge import Body, Chunks, Edge, EdgeFault, Moment, Reach, Relay
from mesh_refresh.testing.faults.fault import Fault
from mesh_refresh.testing.model.ledger import End, Reuse, Undelivered
from mesh_refresh.testing.model.logins import FakeLogin
from mesh_refresh.testing.model.losses import LossReason, Lost, Misplaced

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
    "LossReason",
    "Lost",
    "ManualClock",
    "MfaToken",
    "Misplaced",
    "Moment",
    "Reach",
    "Relay",
    "Replies",
    "Reuse",
    "SentRequest",
    "Sharing",
    "Shortfall",
    "OutboxConformance",
    "RegistryConformance",
    "StoreConformance",
    "StrategyConformance",
    "TransportConformance",
    "Undelivered",
    "UnusedFault",
    "WrongCode",
]
