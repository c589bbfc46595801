"""WeBull."""

from mesh_refresh.strategies.default import DefaultStrategy


class WeBullStrategy(DefaultStrategy):
    """WeBull wants the access token beside the refresh token, and takes the trade token to update it.

    Mesh never returns the trade token, so it is carried over from reply to reply.

    Source: https://docs.meshconnect.com/api-reference/managed-account-authentication/refresh-auth-token
    """

    requires_access_token = True
    sends_trade_token = True
