"""Nested tables of options, as in JSON and TOML."""

from typing import Any


def holds_custom(table: Any) -> bool:
    """Return whether options in JSON contain a custom model, objective or noise."""
    if isinstance(table, dict):
        is_custom = "custom" in (table.get("kind"), table.get("name"))
        return is_custom or any(map(holds_custom, table.values()))
    return isinstance(table, list) and any(map(holds_custom, table))


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables to one table with dotted keys."""
    result = {}
    for key, value in table.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result
