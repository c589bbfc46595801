"""The routes of the API, in one table."""

from mesh_refresh.service.web.routes import Route

API_ROUTES: tuple[Route, ...] = ()
