"""What a fleet tells others, and how it is reached: HTTP, access keys, webhooks. Importing it needs no extra."""

from mesh_refresh.service.access import Access, AccessKey, Scope
from mesh_refresh.service.service import Service
from mesh_refresh.service.webhooks import WebhookNotTaken, Webhooks

__all__ = ["Access", "AccessKey", "Scope", "Service", "WebhookNotTaken", "Webhooks"]
