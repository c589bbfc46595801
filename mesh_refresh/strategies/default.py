"""The strategy for most brokers, and the class to derive your own from."""

from datetime import datetime

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedStr
from mesh_refresh.messages import RefreshRequest, Reply
from mesh_refresh.protocols import RefreshOptions
from mesh_refresh.replies.outcomes import MfaRequired, Refreshed
from mesh_refresh.replies.reading import read
from mesh_refresh.tokens import Tokens


class DefaultStrategy:
    """Sends the refresh token and the metadata of the tokens. Any broker may answer with a question for a code.

    For a broker that needs other fields, override `finish`: it can change every request, that with a code too.
    `send_access_token` adds the access token (or the token id) where there is one.

    Source: https://docs.meshconnect.com/api-reference/managed-account-authentication/refresh-auth-token
    """

    requires_access_token = False
    """Whether to refuse tokens without an access token or token id, before any I/O."""
    sends_trade_token = False

    def __init__(self, *, send_access_token: bool = False) -> None:
        self.send_access_token = send_access_token

    def build(self, tokens: Tokens, options: RefreshOptions) -> RefreshRequest:
        """The request that refreshes `tokens`. Raises `InvalidRequest` where something is missing from them."""
        return self.finish(self._request(tokens, tokens.auth_token, options=options), tokens)

    def build_mfa(self, pending: MfaRequired, code: str) -> RefreshRequest:
        """The second request: the code, the access token of the first reply and the refresh token in force.

        Raises `InvalidRequest` for an empty code. Blanks around the code, as pasting leaves them, are dropped.
        """
        code = MaskedStr(code.strip())
        if not code:
            raise InvalidRequest("The MFA code is empty; nothing was sent. The continuation is still good.")
        return self.finish(self._request(pending.tokens, pending.access_token, code=str(code)), pending.tokens)

    def finish(self, request: RefreshRequest, tokens: Tokens) -> RefreshRequest:  # noqa: ARG002 - for who overrides it
        """`request`, as it is sent for `tokens`. Override it to change every request; this one changes nothing."""
        return request

    def interpret(self, request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Refreshed | MfaRequired:
        """What `reply` means, by the rules that hold for all brokers (`mesh_refresh.replies.reading`)."""
        return read(request, tokens, reply, at)

    def credential(self, tokens: Tokens) -> str | None:
        """What an exchange spends: the refresh token. Override it where your broker spends another token.

        Without a refresh token, the request carries the credential in its place, because the contract requires one.
        """
        return tokens.refresh_token

    def may_resend(self, request: RefreshRequest) -> bool:
        """Whether `request` may be sent again when the fate of the first is unknown: not with a code in it."""
        return request.mfa_code is None

    def _request(
        self,
        tokens: Tokens,
        access_token: str | None,
        *,
        options: RefreshOptions | None = None,
        code: str | None = None,
    ) -> RefreshRequest:
        access_token, code = access_token and MaskedStr(access_token), code and MaskedStr(code)
        if tokens.refresh_token is None and self.credential(tokens) is None:
            raise InvalidRequest(
                f"There is no refresh token to refresh this {tokens.broker} account with; nothing was sent."
            )
        if self.requires_access_token and access_token is None:
            raise InvalidRequest(
                f"{tokens.broker} wants the access token (or token id) beside the refresh token, and there is none; "
                "nothing was sent."
            )
        carries_access_token = self.requires_access_token or self.send_access_token or code is not None
        return RefreshRequest(
            tokens.broker,
            tokens.refresh_token or self.credential(tokens) or "",
            options.create_new_refresh_token if options else None,
            access_token if carries_access_token else None,
            tokens.trade_token if self.sends_trade_token else None,
            code,
            tokens.metadata,
        )
