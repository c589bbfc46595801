"""Which outcome or error a reply is: by the HTTP status, then the envelope's, then the content's. Pure.

A token outranks a status.
"""

from collections.abc import Callable
from datetime import datetime

from mesh_refresh import codec, errors
from mesh_refresh.enums import ApiStatus, AuthStatus
from mesh_refresh.errors import MeshRefreshError, ReplyFacts
from mesh_refresh.messages import BodyKind, BrokerRefreshTokenResponse, RefreshRequest, Reply
from mesh_refresh.replies.merging import continuation_token, merge
from mesh_refresh.replies.outcomes import CodeRefused, MfaRequired, Refreshed, UnreadableReply
from mesh_refresh.tokens import Tokens

_MISSING_FIELD = "missingField"

_BY_HTTP: dict[int, type[MeshRefreshError]] = {
    401: errors.ClientRefused,
    403: errors.PermissionDenied,
    404: errors.NotFound,
    408: errors.ServerFailure,
    409: errors.Conflict,
    423: errors.Locked,
    429: errors.Throttled,
    451: errors.UnavailableForLegalReasons,
}
_BY_STATUS: dict[str, type[MeshRefreshError]] = {
    ApiStatus.SERVER_FAILURE: errors.ServerFailure,
    ApiStatus.PERMISSION_DENIED: errors.PermissionDenied,
    ApiStatus.NOT_FOUND: errors.NotFound,
    ApiStatus.CONFLICT: errors.Conflict,
    ApiStatus.TOO_MANY_REQUEST: errors.Throttled,
    ApiStatus.LOCKED: errors.Locked,
    ApiStatus.UNAVAILABLE_FOR_LEGAL_REASONS: errors.UnavailableForLegalReasons,
}


def read(request: RefreshRequest, tokens: Tokens, reply: Reply, at: datetime) -> Refreshed | MfaRequired:
    """The outcome of `reply` to `request` for the account of `tokens`. Lifetimes count from `at`, when it was sent.

    Raises one of the errors of `mesh_refresh.errors` or `mesh_refresh.replies.outcomes` where the reply is no success.
    """
    if reply.kind is BodyKind.CUT:
        why = reply.fault or "its body breaks off, or is larger than a body can be"
        raise _unreadable(f"The reply cannot be read as it came: {why}.", request, tokens, reply)
    if not 200 <= reply.http_status < 300:
        raise _refusal(request, tokens, reply)
    if reply.kind is BodyKind.COMPRESSED:
        raise _unreadable("The reply came compressed, in a way that cannot be undone.", request, tokens, reply)
    reply = _quiet(request, tokens, reply)
    content = reply.content
    if content is not None:
        if content.status == AuthStatus.MFA_REQUIRED:
            return _continuation(tokens, content, reply, at)
        if content.status != AuthStatus.FAILED and _renews(request, tokens, reply, content):
            merged = merge(tokens, content, at)
            return Refreshed(tokens, merged.all_tokens, reply, merged.asked, merged.read, merged.shared)
    raise _no_success(request, tokens, reply)


def _renews(request: RefreshRequest, tokens: Tokens, reply: Reply, content: BrokerRefreshTokenResponse) -> bool:
    """Whether `content` brings a token that was not sent, or a new lifetime of a token that was.

    A proxy or a failing broker can repeat the tokens that it was sent. Such an echo is a renewal only with a lifetime,
    and under statuses that all say success: some brokers prolong a token and give no new one.
    """
    sent = (None, *request.secrets, *tokens.secrets)
    for entry in content.broker_account_tokens:
        if not (entry.access_token in sent and entry.refresh_token in sent and entry.token_id in sent):
            return True
    if not (content.access_token in sent and content.refresh_token in sent):
        return True
    entries = content.all_entries
    if reply.status != ApiStatus.OK or content.status != AuthStatus.SUCCEEDED:
        return False
    access = {token for entry in entries for token in (entry.access_token, entry.token_id)} - {None}
    refresh = {entry.refresh_token for entry in entries} - {None}
    if not (access or refresh):
        return False
    if not access <= {request.access_token, tokens.access_token, tokens.token_id}:
        return False  # a refresh token at an access token's place would be handed out as one
    if not refresh <= {request.refresh_token, tokens.refresh_token}:
        return False
    # The lifetime of a refresh token does not prolong an access token that came beside it.
    return bool(content.expires_in or (content.refresh_token_expires_in and not access))


def _sent(request: RefreshRequest, tokens: Tokens) -> set[str]:
    """Every secret that Mesh was sent, or that is stored for the account: none of them is a new token."""
    return {*request.secrets, *tokens.secrets}


def _continuation(tokens: Tokens, content: BrokerRefreshTokenResponse, reply: Reply, at: datetime) -> MfaRequired:
    merged = merge(tokens, content, at)
    own = tokens if merged.asked is None else merged.all_tokens[merged.asked]
    access_token = continuation_token(tokens, content, merged)
    return MfaRequired(tokens, own, merged.all_tokens, reply, access_token, merged.read)


def _no_success(request: RefreshRequest, tokens: Tokens, reply: Reply) -> MeshRefreshError:
    """The error for a 2xx without a token that can be used."""
    if holds_new_token(request, tokens, reply):
        return _unreadable(
            "The reply has a token at a place, or under a status, that is not understood.", request, tokens, reply
        )
    facts = _facts(request, tokens, reply)
    if reply.status in _BY_STATUS:
        return _made(_BY_STATUS[str(reply.status)], facts, reply)
    if reply.content is not None and reply.content.status == AuthStatus.FAILED:
        return _refused(request, facts)
    if reply.status == ApiStatus.BAD_REQUEST:
        return errors.RequestRejected(facts=facts) if reply.error_type == _MISSING_FIELD else _refused(request, facts)
    what = f"brings no token: its body is {reply.kind.value}"
    if reply.content is not None and reply.content.has_token:
        what = "only repeats tokens that were sent"
    return _unreadable(f"The reply claims success but {what}.", request, tokens, reply)


def _refusal(request: RefreshRequest, tokens: Tokens, reply: Reply) -> MeshRefreshError:
    """The error for any status but a 2xx."""
    code = reply.http_status
    if holds_new_token(request, tokens, reply):
        return _unreadable("There is a token in the reply, but under an error.", request, tokens, reply)
    facts = _facts(request, tokens, reply)
    if 300 <= code < 400:
        return errors.RedirectRefused(facts=facts)
    if code in _BY_HTTP:
        return _made(_BY_HTTP[code], facts, reply)
    if code == 503 and (reply.kind is BodyKind.ENVELOPE or reply.asked_to_wait):
        return _made(errors.Unavailable, facts, reply)
    if code >= 500:
        return errors.ServerFailure(facts=facts)
    if code < 400:
        return _unreadable(f"HTTP {code} is no answer to a refresh.", request, tokens, reply)
    if reply.kind is BodyKind.ENVELOPE and reply.status in _BY_STATUS:
        return _made(_BY_STATUS[str(reply.status)], facts, reply)
    if code == 400 and reply.kind is BodyKind.ENVELOPE and reply.error_type != _MISSING_FIELD:
        return _refused(request, facts)
    return errors.RequestRejected(facts=facts)


def _made(cls: type[MeshRefreshError], facts: ReplyFacts, reply: Reply) -> MeshRefreshError:
    if cls in (errors.Throttled, errors.Unavailable):
        pausing: Callable[..., MeshRefreshError] = cls
        return pausing(facts=facts, retry_after=reply.retry_after)
    return cls(facts=facts)


def _refused(request: RefreshRequest, facts: ReplyFacts) -> MeshRefreshError:
    # The reply does not say whether the code or the tokens were refused. A person types the code, and can type it
    # again. If dead tokens were assumed, the person would have to log in anew.
    return CodeRefused(facts=facts) if request.mfa_code is not None else errors.TokensRefused(facts=facts)


def _unreadable(what: str, request: RefreshRequest, tokens: Tokens, reply: Reply) -> UnreadableReply:
    return UnreadableReply(
        what,
        facts=_facts(request, tokens, reply),
        body=reply.body,
        may_hold_token=holds_new_token(request, tokens, reply),
        before=tokens,
    )


def holds_new_token(request: RefreshRequest, tokens: Tokens, reply: Reply) -> bool:
    """Whether the body has a token that was not sent, or may hide one. An error that echoes the request has none."""
    found, hidden = codec.token_like(reply)
    return hidden or not found <= _sent(request, tokens)


def _facts(request: RefreshRequest, tokens: Tokens, reply: Reply) -> ReplyFacts:
    return _quiet(request, tokens, reply, is_error=True).facts


def _quiet(request: RefreshRequest, tokens: Tokens, reply: Reply, *, is_error: bool = False) -> Reply:
    """`reply` without secrets in its texts: neither those that were sent, nor those that came."""
    if not (reply.says_something or is_error):
        return reply
    found, _ = codec.token_like(reply)
    return reply.scrubbed((*request.secrets, *tokens.secrets, *found))
