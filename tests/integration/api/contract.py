"""Holds every answer against the OpenAPI document: documented status and media type, valid body, fixed headers."""

import re
from typing import Any

import httpx2
from jsonschema import Draft202012Validator

PROBLEM = "application/problem+json"
GEMINI_ERROR = {"type": "object", "properties": {"error": {"required": ["code", "message"]}}, "required": ["error"]}
UNDOCUMENTED = {405, 413, 500}
"""What any path may answer beside what its call documents."""


class Contract:
    """The document, ready to be asked."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._validators: dict[str, Draft202012Validator] = {}
        # The literal path wins over the template, as in the application.
        paths = sorted(document["paths"], key=lambda path: path.count("{"))
        self._paths = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]

    def check(self, response: httpx2.Response) -> None:
        """Fail where the answer is not what the document promises."""
        kind = response.headers.get("content-type", "").partition(";")[0]
        assert response.headers["x-request-id"]
        assert response.headers["x-content-type-options"] == "nosniff"
        is_door = response.request.url.path.startswith("/gemini")
        if response.status_code >= 400:
            assert kind == ("application/json" if is_door else PROBLEM) or response.request.method == "HEAD", kind
        promised = self._promised(response.request.method, response.request.url.path, response.status_code)
        if promised is None:
            self._validate(GEMINI_ERROR if is_door else {"$ref": "#/components/schemas/Problem"}, response)
            return
        content = promised.get("content", {})
        assert kind in content or not content or response.status_code in {200, 206}, (kind, list(content))
        schema = content.get(kind, {}).get("schema")
        if kind.endswith("json") and schema:
            self._validate(schema, response)

    def _promised(self, method: str, path: str, status: int) -> dict[str, Any] | None:
        template = next((template for pattern, template in self._paths if pattern.fullmatch(path)), None)
        if template is None:
            return None if status in {404, 405} else {}
        operation = self.document["paths"][template].get(method.replace("HEAD", "GET").lower())
        if operation is None or (status in UNDOCUMENTED and str(status) not in operation["responses"]):
            return None
        assert str(status) in operation["responses"], f"{method} {template} does not document {status}"
        promised: dict[str, Any] = operation["responses"][str(status)]
        return promised

    def _validate(self, schema: dict[str, Any], response: httpx2.Response) -> None:
        if response.request.method == "HEAD":
            return
        response.read()
        self.validate(schema, response.json())

    def validate(self, schema: dict[str, Any], value: object) -> None:
        """Fail where a value is not what a schema of the document says."""
        name = str(schema)
        if name not in self._validators:
            whole = {**schema, "components": self.document["components"]}
            self._validators[name] = Draft202012Validator(whole)
        found = self._validators[name].iter_errors(value)
        faults = [f"{list(fault.path)}: {fault.message}" for fault in found]
        assert not faults, faults
