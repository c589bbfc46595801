"""What callers of the API are told of an error."""

from aiohttp import web

from mesh_refresh.errors import MeshRefreshError
from mesh_refresh.service.web.problems import problem


def explain(error: MeshRefreshError) -> web.Response:
    """The answer for an error that a handler raised."""
    del error
    return problem(500, "internal")
