"""How to make each fault that can happen between a client and Mesh."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Self

from attrs import evolve, field, frozen

from mesh_refresh.enums import ApiStatus, AuthStatus
from mesh_refresh.testing.fake import wire
from mesh_refresh.testing.fake.gate import Gate
from mesh_refresh.testing.fake.wire import Delivery, Sent, Wire
from mesh_refresh.testing.model.contract import Answer, bad_request, client_refused, envelope, failed_content, success

Shape = Callable[[Answer, Sent], Wire]


@frozen
class FaultConstructors:
    """The fields of a `Fault`, and a class method for each kind of fault. Base class: `Fault` is what tests use."""

    name: str
    delivery: Delivery
    shape: Shape = field(repr=False, eq=False)
    """Makes the reply from the one that Mesh would have sent (an empty one where it did nothing)."""
    before: Gate | timedelta | None = None
    """A gate, or a span of time, that the request waits for before Mesh does anything."""
    after: Gate | timedelta | None = None
    """The same, between Mesh's work and the reply."""

    @property
    def rotates(self) -> bool:
        """Whether Mesh does its work all the same, so that the refresh token is spent."""
        return self.delivery is not Delivery.UNTOUCHED

    def waiting(self, before: Gate | timedelta | None = None, after: Gate | timedelta | None = None) -> Self:
        """The same fault, with a wait."""
        return evolve(self, before=before, after=after)

    @classmethod
    def none(cls) -> Self:
        """No fault: a request that meets it passes, and the next fault in the queue waits for the next request."""
        return cls("none", Delivery.WHOLE, lambda answer, _: wire.faultless(answer))

    @classmethod
    def delay(cls, seconds: float, *, after_rotation: bool = False) -> Self:
        """A reply without a fault, `seconds` later by the real clock. Prefer `FakeMesh.hold`, which needs no sleep."""
        wait = timedelta(seconds=seconds)
        late = evolve(cls.none(), name="delay after rotation" if after_rotation else "delay")
        return late.waiting(after=wait) if after_rotation else late.waiting(before=wait)

    @classmethod
    def status(
        cls,
        code: int,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        after_rotation: bool = False,
        name: str | None = None,
    ) -> Self:
        """Any HTTP code with any body: None is empty, bytes and text go out as they are, all else as JSON."""
        reply = _reply(code, body, headers or {})
        delivery = Delivery.WITHHELD if after_rotation else Delivery.UNTOUCHED
        named = (name or f"status {code}") + _when(after_rotation=after_rotation)
        return cls(named, delivery, lambda *_: reply)

    @classmethod
    def throttle(cls, retry_after: float | timedelta | datetime | str | None = None, *, enveloped: bool = True) -> Self:
        """429, with or without a Retry-After (seconds, an HTTP date, or any text), and with or without the envelope."""
        body = envelope(ApiStatus.TOO_MANY_REQUEST, "Too many requests") if enveloped else None
        return cls.status(429, body, headers=_retry_after(retry_after), name="throttle")

    @classmethod
    def unavailable(
        cls, retry_after: float | timedelta | datetime | str | None = 30, *, enveloped: bool = True
    ) -> Self:
        """503 with a Retry-After, before anything was done; with or without the envelope."""
        body = envelope(ApiStatus.SERVER_FAILURE, "Temporarily unavailable") if enveloped else None
        return cls.status(503, body, headers=_retry_after(retry_after), name="unavailable")

    @classmethod
    def refuse(cls, message: str = "Unauthorized token") -> Self:
        """400 badRequest with Mesh's envelope, as for a bad broker token, though the token is good."""
        return cls.status(400, bad_request(message).payload, name="refuse")

    @classmethod
    def missing_field(cls) -> Self:
        """400 missingField, though nothing is missing."""
        payload = bad_request("accessToken is required", error_type="missingField").payload
        return cls.status(400, payload, name="missing field")

    @classmethod
    def client_refused(cls) -> Self:
        """401, though the client's keys are good."""
        return cls.status(401, client_refused().payload, name="client refused")

    @classmethod
    def problem(cls, code: int = 400, title: str = "One or more validation errors occurred") -> Self:
        """ProblemDetails (RFC 9457) in place of the envelope."""
        details = {"type": "about:blank", "title": title, "status": code, "instance": "/api/v1/token/refresh"}
        return cls.status(code, details, headers={"Content-Type": "application/problem+json"}, name=f"problem {code}")

    @classmethod
    def html(cls, code: int = 502, *, after_rotation: bool = False) -> Self:
        """A proxy's page, with any code; 200 too."""
        page = f"<html><body><h1>{code}</h1></body></html>"
        headers = {"Content-Type": "text/html"}
        return cls.status(code, page, headers=headers, after_rotation=after_rotation, name=f"html {code}")

    @classmethod
    def empty(cls, code: int = 502, *, after_rotation: bool = False) -> Self:
        """Any code, 200 too, with nothing behind it."""
        return cls.status(code, after_rotation=after_rotation, name=f"empty {code}")

    @classmethod
    def server_error(cls, code: int = 500, *, after_rotation: bool = False) -> Self:
        """5xx with the envelope, before or after rotating."""
        body = envelope(ApiStatus.SERVER_FAILURE, "Something went wrong")
        return cls.status(code, body, after_rotation=after_rotation, name="server error")

    @classmethod
    def cut(cls, *, after_rotation: bool = False) -> Self:
        """The connection is reset, before anything was done or after rotating, with nothing written."""
        delivery = Delivery.WITHHELD if after_rotation else Delivery.UNTOUCHED
        return cls("cut" + _when(after_rotation=after_rotation), delivery, lambda *_: Wire(silent=True))

    @classmethod
    def half_body(cls, *, chunked: bool = False, keep_pair: bool = False) -> Self:
        """After rotating, the connection is cut inside the body: in its first new refresh token, or behind its last."""
        name = f"half a {'chunked ' if chunked else ''}body{' with the pair' if keep_pair else ''}"
        delivery = Delivery.BURIED if keep_pair else Delivery.WITHHELD
        return cls(name, delivery, lambda answer, _: wire.cut_in_half(answer, chunked=chunked, keep_pair=keep_pair))

    @classmethod
    def oversize(cls) -> Self:
        """More than a client reads (16 MiB), after rotating, the pair at its beginning."""
        return cls("oversize", Delivery.BURIED, lambda answer, _: wire.oversize(answer))

    @classmethod
    def broken_json(cls) -> Self:
        """200, after rotating, with the pair in JSON that lacks its last brace."""
        return cls("broken json", Delivery.BURIED, lambda answer, _: wire.broken_json(answer))

    @classmethod
    def without_token(cls, *, after_rotation: bool = False) -> Self:
        """200, ``succeeded``, and no token; before or after rotating."""
        if after_rotation:
            return cls("no token after rotation", Delivery.WITHHELD, lambda answer, _: wire.without_tokens(answer))
        return cls.status(200, success({"status": str(AuthStatus.SUCCEEDED)}), name="no token")

    @classmethod
    def failed(cls) -> Self:
        """200 with ``content.status`` failed and no token."""
        return cls.status(200, success(failed_content("The broker refused")), name="failed")

    @classmethod
    def failed_with_token(cls) -> Self:
        """200 with ``content.status`` failed and the new pair."""
        status = str(AuthStatus.FAILED)
        return cls("failed with token", Delivery.BURIED, lambda answer, _: wire.with_content(answer, status=status))

    @classmethod
    def error_with_token(cls, code: int = 500, status: str = ApiStatus.SERVER_FAILURE) -> Self:
        """An error code over the new pair."""
        return cls(
            f"error {code} with token", Delivery.BURIED,
            lambda answer, _: wire.with_envelope(answer, code, status=str(status)),
        )  # fmt: skip

    @classmethod
    def enveloped(cls, status: str, *, code: int = 200, with_pair: bool = False) -> Self:
        """HTTP 200 with any envelope status: without content, or over a success with its pair (which outranks it)."""
        if with_pair:
            return cls(
                f"pair under {status}", Delivery.WHOLE,
                lambda answer, _: wire.with_envelope(answer, code, status=str(status)),
            )  # fmt: skip
        return cls.status(code, envelope(str(status), "No content"), name=f"envelope {status}")

    @classmethod
    def novelties(cls) -> Self:
        """A success with unknown fields and unknown enum values."""
        return cls("novelties", Delivery.WHOLE, lambda answer, _: wire.with_novelties(answer))

    @classmethod
    def wrong_types(cls) -> Self:
        """A success with wrong types wherever there is no token: balances as text, and so on."""
        return cls("wrong types", Delivery.WHOLE, lambda answer, _: wire.with_wrong_types(answer))

    @classmethod
    def blanks(cls) -> Self:
        """A success with blanks wherever a token could stand and none does: they are no tokens."""
        return cls("blanks", Delivery.WHOLE, lambda answer, _: wire.with_blanks(answer))

    @classmethod
    def odd_numbers(cls) -> Self:
        """A success with NaN, infinity and integers of 70 bits beside its pair."""
        return cls("odd numbers", Delivery.WHOLE, lambda answer, _: wire.with_odd_numbers(answer))

    @classmethod
    def repeats(cls, status: str = ApiStatus.OK) -> Self:
        """200, ``succeeded``, with the tokens that were sent and no others: nothing was renewed."""
        return cls(f"repeats under {status}", Delivery.UNTOUCHED, lambda _, sent: wire.repeated(status, sent.body))

    @classmethod
    def quotes(cls, code: int = 400) -> Self:
        """An error whose statuses repeat every secret that was sent. The contract lists no such status."""
        return cls(f"quotes {code}", Delivery.UNTOUCHED, lambda _, sent: wire.quoting(code, sent.secrets))

    @classmethod
    def gzip(cls) -> Self:
        """A success, compressed though the request did not accept that."""
        return cls("gzip", Delivery.WHOLE, lambda answer, _: wire.gzipped(answer))

    @classmethod
    def redirect(cls, location: str = "http://127.0.0.1:9/elsewhere", code: int = 307) -> Self:
        """A redirect that a client must not follow: a 307 would carry the client secret along."""
        return cls.status(code, headers={"Location": location}, name=f"redirect {code}")

    @classmethod
    def echo(cls, code: int = 400) -> Self:
        """An error whose messages repeat every secret that was sent."""
        return cls(f"echo {code}", Delivery.UNTOUCHED, lambda _, sent: wire.echoing(code, sent.secrets))


def _when(*, after_rotation: bool) -> str:
    return " after rotation" if after_rotation else ""


def _reply(code: int, body: object, headers: Mapping[str, str]) -> Wire:
    if body is None:
        return Wire(code, headers=dict(headers))
    if isinstance(body, bytes | str):
        return Wire(code, body.encode() if isinstance(body, str) else body, dict(headers))
    return wire.json_reply(code, body, headers)


def _retry_after(value: float | timedelta | datetime | str | None) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, datetime):
        return {"Retry-After": format_datetime(value, usegmt=True)}
    return {"Retry-After": value if isinstance(value, str) else f"{value:.0f}"}
