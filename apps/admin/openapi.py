"""Tells the OpenAPI generator what our authentication is called."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = "apps.admin.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002 - the generator's signature
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
