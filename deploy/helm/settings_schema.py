"""Writes what may be set into the chart's schema: every setting of the service but those the chart gives.

python deploy/helm/settings_schema.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from service.settings import Settings

SCHEMA = Path(__file__).parent / "pgb-serve" / "values.schema.json"
GIVEN = {"artifacts", "models_dir", "host", "port", "keys_file"}
# What the service checks of a text, or of each text in a list.
_PATTERNS = {
    "cors_origins": r"^(\*|[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@,]+)$",
    "otlp_endpoint": r"^$|^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#]+\S*$",
}


def settings_schema() -> dict[str, Any]:
    """As JSON schema, draft 7. The two times that a pod's end depends on must be there."""
    found = {}
    for name, field in Settings.model_json_schema()["properties"].items():
        if name in GIVEN:
            continue
        kept = {key: value for key, value in field.items() if key not in ("default", "title", "anyOf")}
        if "anyOf" in field:
            kept["type"] = [choice["type"] for choice in field["anyOf"]]
        if name in _PATTERNS:
            kept = _with_pattern(kept, _PATTERNS[name])
        found[name] = {"description": field["description"], **kept}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["drain_seconds", "stop_seconds"],
        "properties": found,
    }


def _with_pattern(kept: dict[str, Any], pattern: str) -> dict[str, Any]:
    """A field whose text, or each text of whose list, is like the pattern."""
    if kept["type"] == "array":
        return {"type": "array", "items": {"type": "string", "pattern": pattern}}
    return {**kept, "pattern": pattern}


def main() -> None:
    """Replace the settings of the schema and nothing else."""
    schema = json.loads(SCHEMA.read_text())
    schema["properties"]["settings"] = settings_schema()
    SCHEMA.write_text(json.dumps(schema, indent=2) + "\n")


if __name__ == "__main__":
    main()
