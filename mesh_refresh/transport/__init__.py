"""The one door to HTTP."""

from mesh_refresh.transport.aiohttp_transport import AiohttpTransport

__all__ = ["AiohttpTransport"]
