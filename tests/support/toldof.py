"""Whether an answer is one that the OpenAPI document tells of: its media type, and its JSON by the schema."""

import json
from collections.abc import Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator

JSON: Final = "application/json"
Json = Mapping[str, Any]


class ToldOf:
    """document: OpenAPI 3.1, whose schemas are those of JSON Schema 2020-12."""

    def __init__(self, document: Json) -> None:
        self._components = document["components"]
        self._validators: dict[str, Draft202012Validator] = {}

    def fault(self, operation: Json, status: int, content_type: str, body: bytes) -> str:
        """What does not fit, "" when all does. operation: as it stands in the document."""
        told = self._resolved(operation["responses"].get(str(status)) or operation["responses"]["default"])
        content: Json = told.get("content", {})
        media = content_type.partition(";")[0].strip().lower()
        if not content:
            return f"{status} has a body of {media}, and none is told of" if body else ""
        if media not in content:
            return f"{status} is {media or 'without a type'}, and told to be {', '.join(content)}"
        if media != JSON:
            return ""
        try:
            value = json.loads(body)
        except ValueError:
            return f"{status} is no JSON"
        wrong = next(self._validator(content[media]["schema"]).iter_errors(value), None)
        return "" if wrong is None else f"{status}: {wrong.json_path}: {wrong.message[:300]}"

    def _resolved(self, told: Json) -> Json:
        name = str(told.get("$ref", "")).rpartition("/")[2]
        return self._components["responses"][name] if name else told

    def _validator(self, schema: Json) -> Draft202012Validator:
        key = json.dumps(schema)
        if key not in self._validators:
            self._validators[key] = Draft202012Validator({**schema, "components": self._components})
        return self._validators[key]
