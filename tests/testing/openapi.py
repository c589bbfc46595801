"""The wire contract, as validators."""

from pathlib import Path
from typing import Any

import yaml
from openapi_schema_validator import OAS30ReadValidator, OAS30WriteValidator

CONTRACT = Path(__file__).parent.parent / "contract" / "mesh-refresh.openapi.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(CONTRACT.read_text())

_REPLIES = {200: "B2BBrokerRefreshTokenResponseApiResult", 400: "ApiResult"}


def _schema(name: str) -> dict[str, Any]:
    return {"allOf": [{"$ref": f"#/components/schemas/{name}"}], "components": DOCUMENT["components"]}


def check_reply(status: int, payload: object) -> None:
    """Raises unless `payload` is what the contract has for this HTTP code."""
    OAS30ReadValidator(_schema(_REPLIES[status])).validate(payload)


def keeps_contract(body: object) -> bool:
    """Whether `body` is a request by the contract."""
    return bool(OAS30WriteValidator(_schema("BrokerRefreshTokenRequest")).is_valid(body))
