"""Nested tables of options, as they occur in JSON and TOML."""

import json
from typing import Any

MAX_DEPTH = 64  # limit on the nesting of tables and lists; ours are less than ten deep


def is_too_deep(content: Any) -> bool:
    """Return whether tables and lists are nested too deeply for recursive functions."""
    level = [content]
    for _ in range(MAX_DEPTH):
        inner = [each for each in level if isinstance(each, dict | list)]
        if not inner:
            return False
        level = [
            below for each in inner for below in (each.values() if isinstance(each, dict) else each)
        ]
    return any(isinstance(each, dict | list) for each in level)


def holds_custom(table: Any) -> bool:
    """Return whether options select a custom model, objective or noise."""
    if isinstance(table, dict):
        is_custom = "custom" in (table.get("kind"), table.get("name"))
        return is_custom or any(map(holds_custom, table.values()))
    return isinstance(table, list) and any(map(holds_custom, table))


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables into one table with dotted keys."""
    result = {}
    for key, value in table.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result


def toml_string(text: str) -> str:
    """Format text as a TOML string."""
    return json.dumps(text, ensure_ascii=False)
