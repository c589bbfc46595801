"""aioresponses 0.7.9 on aiohttp 3.14: its responses lack an argument that `ClientResponse` has required since.

Source: https://github.com/pnuckowski/aioresponses/issues/289
"""

from types import SimpleNamespace
from typing import Any

from aiohttp import ClientResponse
from aioresponses import aioresponses


class _Response(ClientResponse):
    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **options)


class MockedHttp(aioresponses):
    """`aioresponses`, with answers that aiohttp 3.14 accepts."""

    def add(self, *args: Any, **options: Any) -> None:
        """Answer a request, as `aioresponses.add` does; `post` and its like come here."""
        super().add(*args, **{**options, "response_class": _Response})
