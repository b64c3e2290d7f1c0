"""Recipes from TOML: shipped ones and files, over their bases, under changes."""

import difflib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ruggedize.core.errors import UserError
from ruggedize.recipe.explain import explained, shortened
from ruggedize.recipe.merge import merged, with_stages
from ruggedize.recipe.recipe import Recipe

SHIPPED = resources.files("ruggedize.recipe") / "shipped"
DEEPEST = 8  # parts of an option's dotted name


def shipped_recipes() -> dict[str, str]:
    """Return each shipped recipe's name and the first line of its header."""
    files = sorted((f for f in SHIPPED.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {
        f.name.removesuffix(".toml"): f.read_text().partition("\n")[0].lstrip("# ") for f in files
    }


def load_recipe(name_or_path: str | Path, changes: tuple[str, ...] = ()) -> Recipe:
    """Read a shipped recipe or a file, over its bases and under `section.key=value` changes.

    The word "none" takes an option of the base away.

    Raises:
        UserError: unknown recipe, unknown key (naming the nearest known one), impossible value.
    """
    table = read_table(name_or_path, ())
    for change in changes:
        table = merged(table, parsed_change(change))
    if key := beyond_64_bits(table):
        raise UserError(f"recipe {name_or_path}: {key} is no 64-bit integer; give a smaller one")
    try:
        return Recipe.model_validate(without_unset(with_stages(table, str(name_or_path))))
    except ValidationError as error:
        raise UserError(f"recipe {name_or_path}: {explained(error, Recipe)}") from None


def read_table(name_or_path: str | Path, above: tuple[str, ...]) -> dict[str, Any]:
    """Read one TOML table and lay it over its `base`."""
    source = recipe_source(name_or_path, above)
    key = str(source)
    if key in above:
        raise UserError(
            f"recipe {name_or_path} is its own base: {' -> '.join((*above, key))};\n"
            "remove one of the `base` lines"
        )
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no TOML, no text, no end of brackets
        raise UserError(
            f"recipe {name_or_path} is not valid TOML: {error};\ncorrect it there"
        ) from None
    base = table.pop("base", None)
    if base is not None and not isinstance(base, str):
        raise UserError(
            f"recipe {name_or_path}: base must be the name of a recipe or file, got "
            f'{shortened(base)};\nwrite base = "demo", for example'
        )
    return merged(read_table(base, (*above, key)), table) if base else table


def recipe_source(name_or_path: str | Path, above: tuple[str, ...]) -> Any:
    """Find a recipe: a shipped name, or a file (a base lies beside the file that names it)."""
    name = str(name_or_path)
    if name in shipped_recipes():
        return SHIPPED / f"{name}.toml"
    beside = Path(above[-1]).parent / name if above else Path(name)
    for path in (beside, Path(name)):
        if is_file(path):
            return path.resolve()
    names = list(shipped_recipes())
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"shipped recipes: {', '.join(names)}"
    short = name if len(name) <= 80 else f"{name[:77]}..."
    named_by = f" (the base of {above[-1]})" if above else ""
    raise UserError(f"there is no recipe {short}{named_by}, shipped or as a file; {hint}")


def is_file(path: Path) -> bool:
    """Return whether there is such a file; what cannot be the name of any is none."""
    try:
        return path.is_file()
    except OSError:  # too long
        return False


def parsed_change(change: str) -> dict[str, Any]:
    """Turn `section.key=value` into a table; the value is TOML, or else taken as a string."""
    path, sign, text = change.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not sign or not all(keys) or len(keys) > DEEPEST:
        raise UserError(f"--set takes section.key=value, got {shortened(change)}")
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    for key in reversed(keys):
        value = {key: value}
    return value


def without_unset(table: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is set to "none": an option of the base that does not apply here."""
    named = ("averaging", "kind")  # where "none" is the name of a choice
    kept = {key: value for key, value in table.items() if value != "none" or key in named}
    return {k: without_unset(v) if isinstance(v, dict) else v for k, v in kept.items()}


def beyond_64_bits(value: Any, key: str = "") -> str:
    """Name the first integer that TOML does not know, which Python's reader lets pass; or none."""
    if isinstance(value, int):
        return key if abs(value) >= 1 << 63 else ""
    if isinstance(value, dict):
        inner = [(part, f"{key}.{name}".lstrip(".")) for name, part in value.items()]
    else:
        inner = [(part, key) for part in value] if isinstance(value, list) else []
    return next((found for part, name in inner if (found := beyond_64_bits(part, name))), "")
