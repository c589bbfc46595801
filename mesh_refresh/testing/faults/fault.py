"""Fault: something that goes wrong between a client and Mesh, as a value with a name; and one of each kind."""

from collections.abc import Callable, Iterator, Mapping
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
class Fault:
    """One fault of one request: what Mesh does, and what the client gets. Made by the class methods."""

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
    def all(cls) -> dict[str, "Fault"]:
        """One of each kind, by name: for ``@pytest.mark.parametrize``. `delivery` says what becomes of the pair."""
        return {fault.name: fault for fault in _each_kind()}

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


def _each_kind() -> Iterator[Fault]:
    yield Fault.delay(0.01)
    yield Fault.delay(0.01, after_rotation=True)
    yield Fault.throttle()
    yield evolve(Fault.throttle(0), name="throttle with seconds")
    yield evolve(Fault.throttle(0, enveloped=False), name="throttle, bare")
    yield evolve(Fault.throttle("Thu, 01 Jan 2026 12:00:00 GMT"), name="throttle with a date")
    yield evolve(Fault.throttle("0.001"), name="throttle with a fraction")
    yield evolve(Fault.throttle("soon"), name="throttle with words")
    yield Fault.unavailable(0)
    yield evolve(Fault.unavailable("0.001", enveloped=False), name="unavailable with a fraction, bare")
    yield evolve(Fault.unavailable("soon", enveloped=False), name="unavailable with words, bare")
    yield Fault.refuse()
    yield Fault.missing_field()
    yield Fault.client_refused()
    for code in (403, 404, 409, 418, 423, 451):
        yield Fault.status(code, envelope("badRequest", f"Code {code}"))
    for code in (400, 403, 500):
        yield Fault.problem(code)
    for code in (200, 400, 502):
        yield Fault.html(code)
        yield Fault.empty(code)
    for after in (False, True):
        yield Fault.server_error(after_rotation=after)
        yield Fault.cut(after_rotation=after)
        yield Fault.without_token(after_rotation=after)
    yield Fault.html(200, after_rotation=True)
    yield Fault.empty(200, after_rotation=True)
    for chunked in (False, True):
        for keep_pair in (False, True):
            yield Fault.half_body(chunked=chunked, keep_pair=keep_pair)
    yield Fault.oversize()
    yield Fault.broken_json()
    yield Fault.failed()
    yield Fault.failed_with_token()
    yield Fault.error_with_token(500)
    yield Fault.error_with_token(400, ApiStatus.BAD_REQUEST)
    for status in ApiStatus:
        yield Fault.enveloped(status)
        yield Fault.enveloped(status, with_pair=True)
    yield Fault.novelties()
    yield Fault.wrong_types()
    yield Fault.blanks()
    yield Fault.odd_numbers()
    for status in (ApiStatus.OK, ApiStatus.BAD_REQUEST):
        yield Fault.repeats(status)
    for code in (200, 400):
        yield Fault.quotes(code)
    yield Fault.gzip()
    for code in (302, 307):
        yield Fault.redirect(code=code)
    yield Fault.echo()
