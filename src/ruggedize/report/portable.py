"""A run's recipe and assessment without the paths of this machine."""

import re
import tomllib
from pathlib import Path
from typing import Any

from ruggedize.assess import Assessment
from ruggedize.core.errors import UserError
from ruggedize.core.reading import read_bytes

HUB_NAME = re.compile(r"hf:[\w.-]+/[\w.-]+(@[\w.-]+)?|timm/[\w.-]+")


def recipe_without_places(path: Path) -> dict[str, object]:
    """Load a recipe as a table, with paths reduced to their last component."""
    if not path.is_file():
        raise UserError(f"there is no {path};\ngive the folder of a finished run")
    try:
        return table_without_places(tomllib.loads(read_bytes(path).decode()))
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise UserError(f"{path} is damaged;\nrestore it") from None


def table_without_places(table: dict[str, object]) -> dict[str, object]:
    """Return the table of a recipe, which is changed, with paths reduced to their last component.

    Raises:
        LookupError, TypeError, AttributeError: it is not the table of a valid recipe.
    """
    recipe: dict[str, Any] = table
    recipe["data"].pop("root", None)
    recipe["data"]["name"] = last_part(recipe["data"]["name"])
    if unlabelled := recipe["data"].get("unlabelled"):
        recipe["data"]["unlabelled"] = last_part(unlabelled)
    suite = recipe.get("assess", {}).get("suite")
    if suite:
        recipe["assess"]["suite"] = last_part(suite)
    for options in stages_in(recipe):
        cut_places(options)
    return table


def cut_places(options: dict[str, Any]) -> None:
    """Reduce the paths of weights in a stage's options to their last component."""
    if "start" in options:
        options["start"] = last_part(options["start"])
    model = options.get("model")
    if isinstance(model, dict) and isinstance(model.get("pretrained"), str):
        model["pretrained"] = last_part(model["pretrained"])


def stages_in(recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the options of every stage of a recipe."""
    stages = recipe.get("stages")
    named = [recipe.get("teacher"), recipe.get("student"), *(stages.values() if stages else ())]
    return [options for options in named if isinstance(options, dict)]


def without_places(assessment: Assessment) -> Assessment:
    """Return an assessment without paths of this machine."""
    facts = assessment.facts
    if facts.data is not None:
        data = facts.data.model_copy(update={"place": last_part(facts.data.place)})
        facts = facts.model_copy(update={"data": data})
    return assessment.model_copy(update={"facts": facts, "suite": last_part(assessment.suite)})


def last_part(place: str) -> str:
    """Return the last component of a path; other names, as those on the Hub, are unchanged."""
    if HUB_NAME.fullmatch(place):
        return place
    return Path(place).name if "/" in place else place
