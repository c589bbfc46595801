"""Replies that no page describes and that come all the same: food for `StrategyConformance`."""

from collections.abc import Iterator

NEW_TOKEN = "new-token|that/must#not+be=lost"

_PAIR = f'{{"accessToken":"new-access","refreshToken":"{NEW_TOKEN}"}}'

_BODIES = (
    b"",
    b" ",
    b"null",
    b"[]",
    b"{}",
    b"17",
    b'"text"',
    b"<html><body>Bad gateway</body></html>",
    b"\xff\xfe\x00",
    b"[" * 5000,
    b'{"status":"ok"}',
    b'{"status":"ok","content":null}',
    b'{"status":"ok","content":[]}',
    b'{"status":17,"content":"text"}',
    b'{"status":"unheardOf","content":{"status":"unheardOf"}}',
    b'{"status":"ok","content":{"status":"succeeded"}}',
    b'{"status":"ok","content":{"status":"succeeded","accessToken":"","refreshToken":null}}',
    b'{"status":"ok","content":{"status":"succeeded","brokerAccountTokens":[null,7,"x",{},{"account":5}]}}',
    b'{"status":"ok","content":{"status":"failed","errorMessage":"no"}}',
    b'{"status":"ok","content":{"status":"mfaRequired"}}',
    b'{"status":"badRequest","message":"Unauthorized token","errorType":"badRequest"}',
    b'{"status":"badRequest","message":"x is required","errorType":"missingField"}',
    b'{"status":"tooManyRequest","message":"slower"}',
    b'{"type":"about:blank","title":"Bad Request","status":400,"detail":"no"}',
)

_BODIES_WITH_THE_TOKEN = tuple(
    text.replace("PAIR", _PAIR).encode()
    for text in (
        '{"status":"ok","content":{"status":"succeeded","brokerAccountTokens":[PAIR]}}',
        '{"status":"ok","content":{"status":"succeeded","brokerAccountTokens":PAIR}}',
        '{"content":{"brokerAccountTokens":[{"account":{"accountId":"another"}},PAIR]}}',
        '{"status":"serverFailure","content":{"status":"unheardOf","brokerAccountTokens":[PAIR]}}',
        '{"status":"ok","content":{"status":"failed","brokerAccountTokens":[PAIR]}}',
        '{"status":"ok","content":{"status":"mfaRequired","brokerAccountTokens":[PAIR]}}',
        '{"status":"ok","content":{"status":"succeeded","expiresInSeconds":-1,"account":7,"brokerAccountTokens":[PAIR]}}',
        '{"status":"ok","content":{"status":"succeeded","brokerAccountTokens":[PAIR]}',
        '{"status":"ok","content":{"status":"succeeded","brokerAccountTokens":[PAIR',
    )
)

BLANK_REPLIES = tuple(
    text.replace("BLANK", blank).encode()
    for blank in ("", " ", "\\t", "\\u0000", "\\u200b", "\\ufeff ")
    for text in (
        '{"status":"ok","content":{"status":"succeeded","accessToken":"new-access","refreshToken":"BLANK"}}',
        '{"status":"ok","content":{"brokerAccountTokens":[{"accessToken":"new-access","refreshToken":"BLANK"}]}}',
        '{"status":"ok","content":{"refreshToken":"BLANK","brokerAccountTokens":[{"accessToken":"new-access"}]}}',
    )
)
"""Successes with a new access token, in which a blank stands where the refresh token would be."""

SPOILT_REPLIES = tuple(
    text.replace("PAIR", _PAIR).encode("latin-1")
    for text in (
        '{"status":"ok","content":{"status":"succeeded","brokerAccountTokens":[PAIR]},"errorData":[NaN,-Infinity]}',
        '{"status":"ok","content":{"status":"succeeded","cash":1e999,"brokerAccountTokens":[PAIR]}}',
        '{"status":"ok","content":{"brokerAccountTokens":[PAIR]},"errorData":1180591620717411303425,"message":NaN}',
        '{"status":"ok","content":{"brokerAccountTokens":[PAIR]},"message":"two\nlines"}',
        '{"status":"ok","content":{"brokerAccountTokens":[PAIR]},"message":"caf\u00e9"}',
        '{"status":"ok","content":{"brokerAccountTokens":[PAIR],"brokerAccountTokens":null},"content":null}',
        '{"status":"ok","content":{"brokerAccountTokens":[PAIR]},"novelty":' + "[" * 2000 + "]" * 2000 + "}",
    )
)
"""Successes with a new pair beside something that strict parsers refuse."""

WAITS = ("7", "1.5", '"30"', " 30 ", "30s", "30 seconds", "+30", "30, 60", "1e1", "PT30S", "2026-01-01T12:00:30Z")
"""Forms of ``Retry-After``, in a reply of 2026-01-01T12:00:00Z."""

_CODES = (200, 201, 204, 302, 400, 401, 403, 404, 408, 409, 418, 423, 429, 451, 500, 503)


def odd_replies() -> Iterator[tuple[int, bytes, bool]]:
    """Of each odd reply: the HTTP code, the body, and whether it came whole."""
    for code in _CODES:
        for body in _BODIES + _BODIES_WITH_THE_TOKEN:
            yield code, body, True
            yield code, body[:-3], False
