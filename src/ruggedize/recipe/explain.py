"""A fault of a recipe in one line: where it is, what came, what is allowed."""

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ruggedize.recipe.merge import CHOOSERS

KINDS = {  # what pydantic calls a fault, and what a recipe has in that place
    "tuple_type": "a list, e.g. [{}]",
    "model": "a table of options",
    "dict": "a table of options",
    "int": "a whole number",
    "float": "a number",
    "string": 'a text, e.g. "{}"',
    "bool": "true or false",
}


def explained(error: ValidationError, recipe: type[BaseModel]) -> str:
    """Format one fault as one line: where, what came, what is allowed; an unknown key first."""
    faults = error.errors()
    fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    if not fault["loc"]:  # parts that are right by themselves and contradict each other
        return fault["msg"].removeprefix("Value error, ")
    *above, last = (str(part) for part in fault["loc"])
    path, models = walk(above, recipe)
    if fault["type"] == "extra_forbidden":
        known = sorted({key for model in models for key in model.model_fields})
        inner = [f"{'.'.join(path)}.{name}" for name in nested(models, last)]
        near = inner or difflib.get_close_matches(last, known, 1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key {'.'.join([*path, last])}; {hint}"
    place = ".".join(walk([*above, last], recipe)[0]) or "recipe"
    if fault["type"] == "missing":
        return f"{place} is missing; add it or name a base recipe"
    if fault["type"] == "value_error":  # ours: says what came
        return f"{place}: {fault['msg'].removeprefix('Value error, ')}"
    value = shortened(fault["input"])
    kind = next((KINDS[word] for word in KINDS if fault["type"].startswith(word)), None)
    allowed = f"it must be {kind.format(value)}" if kind else fault["msg"]
    return f"{place}: {allowed} (got {value})"


def nested(models: list[type[BaseModel]], key: str) -> list[str]:
    """Return where a key is known one table deeper: an objective's temperature, for example."""
    return [
        f"{name}.{key}"
        for model in models
        for name, field in model.model_fields.items()
        if any(key in kind.model_fields for kind in option_types(field.annotation))
    ]


def walk(parts: list[str], recipe: type[BaseModel]) -> tuple[list[str], list[type[BaseModel]]]:
    """Follow an error's place down the option types; leave out the names of union members."""
    path: list[str] = []
    models: list[type[BaseModel]] = [recipe]
    for part in parts:
        below = [m for model in models for m in option_types_at(model, part)]
        chosen = [model for model in models if part in members(model)]
        if not below and chosen:
            models = chosen
            continue
        path.append(part)
        models = models if part.isdigit() else below
    return path, models


def option_types_at(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    """Return the option types that a field may hold."""
    info = model.model_fields.get(field)
    return option_types(info.annotation) if info else []


def option_types(annotation: Any) -> list[type[BaseModel]]:
    """Find the option types within an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in option_types(argument)]


def members(model: type[BaseModel]) -> set[Any]:
    """Return the names by which a union knows this member."""
    fields = (model.model_fields.get(key) for key in CHOOSERS)
    return {field.default for field in fields if field}


def shortened(value: Any) -> str:
    """Show what came, in little space."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else text[:77] + "..."
