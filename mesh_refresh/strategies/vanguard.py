"""Vanguard."""

from mesh_refresh.strategies.default import DefaultStrategy


class VanguardStrategy(DefaultStrategy):
    """Vanguard wants the access token beside the refresh token, and may answer that it wants a code.

    The second request carries the code and the access token of the first reply; `DefaultStrategy.build_mfa` does that
    for every broker, because any may ask for a code.

    Source: https://docs.meshconnect.com/api-reference/managed-account-authentication/refresh-auth-token
    """

    requires_access_token = True
