"""Refresh brokerage and crypto tokens at Mesh, and lose none of them."""

from mesh_refresh.client import PRODUCTION_URL, SANDBOX_URL, MeshClient, SendOptions
from mesh_refresh.clock import Clock, SystemClock
from mesh_refresh.codec import BODY_LIMIT
from mesh_refresh.enums import ApiStatus, AuthStatus, BrokerType
from mesh_refresh.errors import (
    ClientRefused,
    Conflict,
    InvalidRequest,
    Locked,
    MeshRefreshError,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PermissionDenied,
    RedirectRefused,
    ReplyFacts,
    RequestRejected,
    ServerFailure,
    Throttled,
    TokensRefused,
    Unavailable,
    UnavailableForLegalReasons,
)
from mesh_refresh.messages import (
    BodyKind,
    BrokerAccount,
    BrokerAccountTokens,
    BrokerFiatBalance,
    BrokerRefreshTokenResponse,
    HttpReply,
    HttpRequest,
    RefreshRequest,
    Reply,
)
from mesh_refresh.protocols import RefreshOptions, Strategy, Transport
from mesh_refresh.replies.brought import Brought
from mesh_refresh.replies.outcomes import (
    AccountNotInReply,
    CodeRefused,
    MfaPending,
    MfaRequired,
    NotSaved,
    Outcome,
    Refreshed,
    UnreadableReply,
)
from mesh_refresh.retry import RetryPolicy
from mesh_refresh.strategies import DefaultStrategy, StrategyRegistry, VanguardStrategy, WeBullStrategy
from mesh_refresh.tokens import Tokens
from mesh_refresh.transport import AiohttpTransport
from mesh_refresh.version import VERSION

__all__ = [
    "BODY_LIMIT",
    "PRODUCTION_URL",
    "SANDBOX_URL",
    "AccountNotInReply",
    "AiohttpTransport",
    "ApiStatus",
    "AuthStatus",
    "BodyKind",
    "BrokerAccount",
    "BrokerAccountTokens",
    "BrokerFiatBalance",
    "BrokerRefreshTokenResponse",
    "BrokerType",
    "Brought",
    "ClientRefused",
    "Clock",
    "CodeRefused",
    "Conflict",
    "DefaultStrategy",
    "HttpReply",
    "HttpRequest",
    "InvalidRequest",
    "Locked",
    "MeshClient",
    "MeshRefreshError",
    "MfaPending",
    "MfaRequired",
    "NotFound",
    "NotSaved",
    "NotSent",
    "Outcome",
    "OutcomeUnknown",
    "PermissionDenied",
    "RedirectRefused",
    "RefreshOptions",
    "RefreshRequest",
    "Refreshed",
    "Reply",
    "ReplyFacts",
    "RequestRejected",
    "RetryPolicy",
    "SendOptions",
    "ServerFailure",
    "Strategy",
    "StrategyRegistry",
    "SystemClock",
    "Throttled",
    "Tokens",
    "TokensRefused",
    "Transport",
    "Unavailable",
    "UnavailableForLegalReasons",
    "UnreadableReply",
    "VanguardStrategy",
    "WeBullStrategy",
]

__version__ = VERSION
