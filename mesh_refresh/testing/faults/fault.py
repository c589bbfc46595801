"""Fault: something that goes wrong between a client and Mesh, as a value with a name; and one of each kind."""

from collections.abc import Iterator

from attrs import evolve, frozen

from mesh_refresh.enums import ApiStatus
from mesh_refresh.testing.faults.constructors import FaultConstructors
from mesh_refresh.testing.model.contract import envelope


@frozen
class Fault(FaultConstructors):
    """One fault of one request: what Mesh does, and what the client gets. Made by the class methods."""

    @classmethod
    def all(cls) -> dict[str, "Fault"]:
        """One of each kind, by name: for ``@pytest.mark.parametrize``. `delivery` says what becomes of the pair."""
        return {fault.name: fault for fault in _each_kind()}


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
