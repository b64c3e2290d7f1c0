"""The absolute places of a recipe's data and suite, so that a run is found from any folder."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruggedize.assess import GENERATED
from ruggedize.core.errors import UserError
from ruggedize.core.places import absolute_path, is_there
from ruggedize.data import beside, data_root, with_absolute_place
from ruggedize.recipe.recipe import Recipe


def with_absolute_places(recipe: Recipe) -> Recipe:
    """Return the recipe with the absolute paths of its data and suite, where they exist."""
    suite = absolute_suite(recipe.assess.suite, recipe.data.root)
    assess = recipe.assess.model_copy(update={"suite": suite})
    return recipe.model_copy(update={"data": with_absolute_place(recipe.data), "assess": assess})


def absolute_suite(name: str, root: Path | None) -> str:
    """Return the absolute path of a suite in the current folder or else in the data folder."""
    if name == GENERATED:
        return name
    places = [absolute_path(name)]
    with suppress(UserError):  # no variable and no home folder
        places.append(data_root(root) / name)
    return next((str(place) for place in places if is_there(place)), name)


def with_places_beside(table: dict[str, Any], folder: Path, *, has_root: bool) -> dict[str, Any]:
    """Return a recipe's table with the paths that exist beside its file made absolute.

    Args:
        table: the content of the file.
        folder: where the file lies.
        has_root: the data is looked up below a root that is set elsewhere.
    """
    placed = dict(table)
    if "data" in table and not has_root:
        placed["data"] = beside(table["data"], folder)
    assess = table["assess"] if isinstance(table.get("assess"), dict) else {}
    suite = assess.get("suite")
    if isinstance(suite, str) and suite != GENERATED and not suite.startswith("~"):
        place = absolute_path(folder / suite)
        if is_there(place):
            placed["assess"] = {**assess, "suite": os.fspath(place)}
    return placed
