"""What every answer of the service has, whether aiohttp makes it or not."""

from http import HTTPStatus

from aiohttp import web

from mesh_refresh.service.web.problems import PROBLEM_TYPE, reason_of, write_problem
from mesh_refresh.service.web.requests import REQUEST_ID

_ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that each answer has, and take out the name of the server. A signal of the application."""
    response.headers.update(_ALWAYS)
    if (request_id := request.get(REQUEST_ID)) is not None:
        response.headers["X-Request-Id"] = request_id
    response.headers.popall("Server", None)


def write_answer(status: int, **headers: str) -> bytes:
    """The bytes of an answer that ends its connection, for requests that reach no handler. It quotes nothing."""
    body = write_problem(status, reason_of(status))
    lines = {
        "Content-Type": PROBLEM_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **_ALWAYS,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{head}\r\n".encode() + body
