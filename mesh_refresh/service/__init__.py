"""What a fleet tells others, and how it is reached: webhooks, probes, metrics. Importing it needs no extra."""

from mesh_refresh.service.webhooks import WebhookNotTaken, Webhooks

__all__ = ["WebhookNotTaken", "Webhooks"]
