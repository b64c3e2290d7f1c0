"""Loading of shipped recipes and recipe files, merged with their bases and with changes."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ruggedize.core.errors import UserError, did_you_mean, shown
from ruggedize.core.files import write_atomically
from ruggedize.core.places import user_path
from ruggedize.core.reading import read_bytes
from ruggedize.core.tables import MAX_DEPTH, holds_custom, is_too_deep
from ruggedize.recipe.automatic import ModelChoice, resolve_automatic
from ruggedize.recipe.explain import explained, shell_hint, shortened
from ruggedize.recipe.merge import for_own_data, merged, with_stages
from ruggedize.recipe.places import with_absolute_places, with_places_beside
from ruggedize.recipe.recipe import Recipe, differing, differing_keys, recipe_toml

SHIPPED = resources.files("ruggedize.recipe") / "shipped"
MAX_KEYS = 8  # keys in the dotted name of an option
MAX_BASES = 20  # length of a chain of recipes, each based on the next


def shipped_recipes() -> dict[str, str]:
    """Return the first line of each shipped recipe's header, by name."""
    files = sorted((f for f in SHIPPED.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {
        f.name.removesuffix(".toml"): f.read_text().partition("\n")[0].lstrip("# ") for f in files
    }


def load_recipe(
    name_or_path: str | Path,
    changes: tuple[str, ...] = (),
    *,
    choose: ModelChoice | None = None,
    recorded: Callable[[int], Path] | None = None,
    tables: Sequence[Mapping[str, object]] = (),
) -> Recipe:
    """Load a shipped recipe or a recipe file, merged over its bases, and apply changes.

    The value "none" removes an option of the base. A relative path of the data or of a suite is
    looked up next to the recipe file that sets it, then in the current folder and in the data
    folder; the loaded recipe has the absolute path. Sizes that are "auto" are chosen by the number
    of images, or for a set of 1,000 if the data does not exist.

    Args:
        name_or_path: the name of a shipped recipe, or the path of a TOML file.
        changes: changes of the form `section.key=value`, applied in order.
        choose: chooses a network where its name is "auto"; default: the smallest candidate.
        recorded: returns, for a seed, the `recipe.toml` of a run to resume, which need not exist;
            options that are "auto" keep its values.
        tables: tables of options like those of a recipe file, merged over it before the changes.

    Raises:
        UserError: the recipe or a key is unknown (the message suggests the closest one), or a value
            is invalid.
    """
    parsed = [*map(dict, tables), *map(parsed_change, changes)]
    table = read_table(name_or_path, (), has_root=any(sets_root(change) for change in parsed))
    if "data" in table:
        table["data"] = for_own_data(table["data"], data_of(parsed))
    for change in parsed:
        table = merged(table, change)
    if key := beyond_64_bits(table):
        raise UserError(
            f"recipe {name_or_path}: {key} must fit into 64 bits, got a larger integer;\n"
            "set a smaller one"
        )
    seed = table.get("seed", 0)
    earlier = recorded(seed) if recorded and isinstance(seed, int) else None

    def check(trial: dict[str, Any]) -> Recipe:  # networks are timed for a valid recipe only
        return validated(trial, name_or_path, changes)

    table = resolve_automatic(table, check, choose, earlier)
    return with_absolute_places(validated(table, name_or_path, changes))


def validated(table: dict[str, Any], name_or_path: str | Path, changes: Sequence[str]) -> Recipe:
    """Return the recipe of a merged table; raise UserError for its first mistake."""
    try:
        return Recipe.model_validate(without_unset(with_stages(table, str(name_or_path))))
    except ValidationError as error:
        hint = shell_hint(error, Recipe, changes)
        raise UserError(f"recipe {name_or_path}: {explained(error, Recipe)}{hint}") from None


def keep_place(file: Path, recipe: Recipe) -> None:
    """Rewrite the recipe of a run if its data has moved since the recipe was written."""
    written = tomllib.loads(read_bytes(file).decode("utf-8"))
    data = written["data"]
    places = data["name"], data.get("root"), data.get("unlabelled"), written["assess"]["suite"]
    root, unlabelled = (
        place and str(place) for place in (recipe.data.root, recipe.data.unlabelled)
    )
    if places != (recipe.data.name, root, unlabelled, recipe.assess.suite):
        write_atomically(file, recipe_toml(recipe).encode())


def keys_that_differ(written: Path, recipe: Recipe) -> list[str]:
    """Return the options in which the recipe of a run differs.

    With user-defined parts, which cannot be loaded from TOML, the tables are compared as written.
    """
    table = recipe.model_dump(mode="json", exclude_none=True)
    if not holds_custom(table):
        return differing_keys(load_recipe(written), recipe)
    return differing(tomllib.loads(read_bytes(written).decode()), table)


def data_of(changes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the options of the data that changes set."""
    tables = [change["data"] for change in changes if isinstance(change.get("data"), dict)]
    return {key: value for table in tables for key, value in table.items()}


def sets_root(change: dict[str, Any]) -> bool:
    """Return whether a change sets `data.root`, to which the name of the data is relative."""
    return isinstance(change.get("data"), dict) and "root" in change["data"]


def read_table(
    name_or_path: str | Path, above: tuple[str, ...], *, has_root: bool = False
) -> dict[str, Any]:
    """Read a TOML file and merge it over its `base`.

    Paths next to the file are made absolute, those of the data unless a root is set elsewhere.
    """
    source = recipe_source(name_or_path, above)
    key = str(source)
    if key in above:
        raise UserError(
            f"recipe {name_or_path} is its own base: {' -> '.join((*above, key))};\n"
            "remove one of the `base` lines"
        )
    if len(above) > MAX_BASES:
        raise UserError(
            f"recipe {name_or_path} must have at most {MAX_BASES} bases, got more;\n"
            "merge some of them"
        )
    try:
        text = read_bytes(source) if isinstance(source, Path) else source.read_bytes()
        table = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or nested too deeply
        raise UserError(
            f"recipe {name_or_path} is not valid TOML: {error};\ncorrect the file"
        ) from None
    if is_too_deep(table):
        raise UserError(
            f"recipe {name_or_path} is nested more than {MAX_DEPTH} levels deep;\ncorrect the file"
        )
    base = table.pop("base", None)
    if base is not None and not isinstance(base, str):
        raise UserError(
            f"recipe {name_or_path}: base must be the name of a recipe or file, got "
            f'{shortened(base)};\nfor example base = "demo"'
        )
    if isinstance(source, Path):
        table = with_places_beside(table, source.parent, has_root=has_root)
    if not base:
        return table
    below = read_table(base, (*above, key), has_root=has_root)
    if "data" in below:
        below["data"] = for_own_data(below["data"], table.get("data"))
    return merged(below, table)


def recipe_source(name_or_path: str | Path, above: tuple[str, ...]) -> Any:
    """Return the file of a shipped recipe or a path; a base is looked up next to its recipe."""
    name = str(name_or_path)
    if name in shipped_recipes():
        return SHIPPED / f"{name}.toml"
    place = user_path(name)
    relative = Path(above[-1]).parent / place if above else place
    for path in (relative, place):
        if is_file(path):
            return path.resolve()
    names = list(shipped_recipes())
    hint = did_you_mean(name, names) or f"shipped recipes: {', '.join(names)}"
    short = shown(name if len(name) <= 80 else f"{name[:77]}...")
    origin = f" (the base of {shown(above[-1])})" if above else ""
    raise UserError(f"there is no recipe {short}{origin}, shipped or as a file;\n{hint}")


def is_file(path: Path) -> bool:
    """Return whether a path is a file; False if the path is invalid."""
    try:
        return path.is_file()
    except OSError:  # name too long
        return False


def parsed_change(change: str) -> dict[str, Any]:
    """Parse `section.key=value` into a table; a value that is not valid TOML is a string."""
    path, sign, text = change.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not sign or not all(keys) or len(keys) > MAX_KEYS:
        raise UserError(
            f"--set must be section.key=value, got {shortened(change)};\n"
            "for example --set student.epochs=30"
        )
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    if is_too_deep(value):
        raise UserError(
            f"--set {shortened(path)}: tables and lists must be nested at most {MAX_DEPTH} levels "
            "deep;\nset a simpler value"
        )
    for key in reversed(keys):
        value = {key: value}
    return value


def without_unset(table: dict[str, Any]) -> dict[str, Any]:
    """Remove options that are set to "none", which restores their defaults."""
    literal = ("averaging", "kind")  # options that have "none" as a value
    remaining = {k: v for k, v in table.items() if v != "none" or k in literal}
    return {k: without_unset(v) if isinstance(v, dict) else v for k, v in remaining.items()}


def beyond_64_bits(value: Any, key: str = "") -> str:
    """Return the key of the first integer beyond 64 bits, which TOML forbids; empty if none."""
    if isinstance(value, int):
        return key if abs(value) >= 1 << 63 else ""
    if isinstance(value, dict):
        items = [(item, f"{key}.{name}".lstrip(".")) for name, item in value.items()]
    else:
        items = [(item, key) for item in value] if isinstance(value, list) else []
    return next((found for item, name in items if (found := beyond_64_bits(item, name))), "")
