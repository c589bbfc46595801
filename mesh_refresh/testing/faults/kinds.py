"""One of each kind of fault, for tests that want every one."""

from collections.abc import Iterable

from attrs import evolve

from mesh_refresh.enums import ApiStatus
from mesh_refresh.testing.faults.faults import Fault
from mesh_refresh.testing.model.contract import envelope


def kinds() -> Iterable[Fault]:
    """One fault of each kind."""
    cls = Fault
    yield cls.delay(0.01)
    yield cls.delay(0.01, after_rotation=True)
    yield cls.throttle()
    yield evolve(cls.throttle(0), name="throttle with seconds")
    yield evolve(cls.throttle(0, enveloped=False), name="throttle, bare")
    yield evolve(cls.throttle("Thu, 01 Jan 2026 12:00:00 GMT"), name="throttle with a date")
    yield evolve(cls.throttle("0.001"), name="throttle with a fraction")
    yield evolve(cls.throttle("soon"), name="throttle with words")
    yield cls.unavailable(0)
    yield evolve(cls.unavailable("0.001", enveloped=False), name="unavailable with a fraction, bare")
    yield evolve(cls.unavailable("soon", enveloped=False), name="unavailable with words, bare")
    yield cls.refuse()
    yield cls.missing_field()
    yield cls.client_refused()
    for code in (403, 404, 409, 418, 423, 451):
        yield cls.status(code, envelope("badRequest", f"Code {code}"))
    for code in (400, 403, 500):
        yield cls.problem(code)
    for code in (200, 400, 502):
        yield cls.html(code)
        yield cls.empty(code)
    for after in (False, True):
        yield cls.server_error(after_rotation=after)
        yield cls.cut(after_rotation=after)
        yield cls.without_token(after_rotation=after)
    yield cls.html(200, after_rotation=True)
    yield cls.empty(200, after_rotation=True)
    for chunked in (False, True):
        for keep_pair in (False, True):
            yield cls.half_body(chunked=chunked, keep_pair=keep_pair)
    yield cls.oversize()
    yield cls.broken_json()
    yield cls.failed()
    yield cls.failed_with_token()
    yield cls.error_with_token(500)
    yield cls.error_with_token(400, ApiStatus.BAD_REQUEST)
    for status in ApiStatus:
        yield cls.enveloped(status)
        yield cls.enveloped(status, with_pair=True)
    yield cls.novelties()
    yield cls.wrong_types()
    yield cls.blanks()
    yield cls.odd_numbers()
    for status in (ApiStatus.OK, ApiStatus.BAD_REQUEST):
        yield cls.repeats(status)
    for code in (200, 400):
        yield cls.quotes(code)
    yield cls.gzip()
    for code in (302, 307):
        yield cls.redirect(code=code)
    yield cls.echo()
