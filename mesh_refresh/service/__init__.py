"""What a fleet tells others, and how it is reached: webhooks. Importing it needs no extra."""

from mesh_refresh.service.webhooks import Webhooks

__all__ = ["Webhooks"]
