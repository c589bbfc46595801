"""The transport: the only package of the client that does HTTP."""

from mesh_refresh.transport.aiohttp_transport import AiohttpTransport

__all__ = ["AiohttpTransport"]
