"""Who may call the service: access keys, what each allows, and the file that has them."""

from mesh_refresh.service.access.access import Access, Refusal
from mesh_refresh.service.access.keys import AccessKey, Scope

__all__ = ["Access", "AccessKey", "Refusal", "Scope"]
