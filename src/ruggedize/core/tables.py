"""Nested tables of options, as JSON and TOML hold them."""

from typing import Any


def holds_custom(table: Any) -> bool:
    """Whether options in JSON name a model, an objective or noise of the user's own."""
    if isinstance(table, dict):
        own = "custom" in (table.get("kind"), table.get("name"))
        return own or any(map(holds_custom, table.values()))
    return isinstance(table, list) and any(map(holds_custom, table))


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables to dotted keys."""
    result = {}
    for key, value in table.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result
