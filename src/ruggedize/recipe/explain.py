"""Error messages for invalid recipes: which option, what is allowed, and what was set."""

import shlex
import tomllib
from collections.abc import Sequence
from datetime import date, time
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ruggedize.core.errors import did_you_mean
from ruggedize.core.tables import toml_string
from ruggedize.recipe.merge import CHOOSERS

KINDS = {  # the expected kind of value, by prefix of pydantic's error type
    "tuple_type": "a list, e.g. [{}]",
    "model": "a table of options",
    "dict": "a table of options",
    "int": "a whole number",
    "float": "a number",
    "string": 'a string, e.g. "{}"',
    "bool": "true or false",
}
ELSEWHERE = {  # keys that are read before validation and only allowed in one place
    "control": "did you mean control at the top level of the recipe?",
    "generations": "did you mean student.generations?",
    "base": "did you mean base at the top of a recipe file?",
    "training_hours": "did you mean training_hours at the top level of the recipe?",
    "like": "did you mean stages.NAME.like?",
    "pretrained": "only networks of timm have pretrained weights: "
    'model = { name = "timm/NAME", pretrained = true }',
}


def explained(error: ValidationError, recipe: type[BaseModel]) -> str:
    """Return a one-line message for the first unknown key, or else for the first error."""
    fault = first_fault(error)
    if not fault["loc"]:  # a conflict between sections
        return fault["msg"].removeprefix("Value error, ")
    keys = [str(key) for key in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        return unknown_key(keys, recipe)
    path, models = walk(keys, recipe)
    place = ".".join(path) or "recipe"
    if fault["type"].startswith("union_tag"):
        return unknown_kind(place, fault, models)
    if fault["type"] == "missing":
        return f"{place} is required; add it, or set a base recipe"
    if fault["type"] == "value_error":  # our own message, which includes the value
        return f"{place}: {fault['msg'].removeprefix('Value error, ')}"
    value = shortened(fault["input"])
    kind = next((KINDS[prefix] for prefix in KINDS if fault["type"].startswith(prefix)), None)
    allowed = (
        kind.format(as_toml(fault["input"]))
        if kind
        else fault["msg"].removeprefix("Input should be ")
    )
    return f"{place} must be {allowed}, got {value}"


def first_fault(error: ValidationError) -> ErrorDetails:
    """Return the error to report: the first unknown key, or else the first error."""
    faults = error.errors()
    return next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])


def shell_hint(error: ValidationError, recipe: type[BaseModel], changes: Sequence[str]) -> str:
    """Return how to quote a `--set` value that was parsed as the wrong type; empty otherwise."""
    fault = first_fault(error)
    if not fault["type"].startswith(("string", "path", "tuple_type")):
        return ""
    place = ".".join(walk([str(key) for key in fault["loc"]], recipe)[0])
    for change in reversed(changes):
        key, _, text = change.partition("=")
        if ".".join(part.strip() for part in key.split(".")) == place:
            value = (
                as_list(text.strip())
                if fault["type"] == "tuple_type"
                else toml_string(text.strip())
            )
            return f";\nin a shell: --set {shlex.quote(f'{place}={value}')}"
    return ""


def as_list(text: str) -> str:
    """Format comma-separated values as a TOML list."""
    try:
        tomllib.loads(f"value = [{text}]")
    except ValueError:
        return f"[{', '.join(toml_string(part.strip()) for part in text.split(','))}]"
    return f"[{text}]"


def as_toml(value: Any) -> str:
    """Format a value as in TOML, but without quotes and truncated."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, date | time) else shortened(value)


def unknown_key(keys: list[str], recipe: type[BaseModel]) -> str:
    """Return the message for an unknown key, with the closest known one."""
    *above, key = keys
    path, models = walk(above, recipe)
    known = sorted({name for model in models for name in model.model_fields})
    inner = [".".join([*path, name]) for name in nested(models, key)]
    if key in ELSEWHERE:
        hint = ELSEWHERE[key]
    elif inner:
        hint = f"did you mean {inner[0]}?"
    else:
        hint = did_you_mean(key, known, cutoff=0.5) or f"known keys: {', '.join(known)}"
    return f"unknown key {'.'.join([*path, key])}; {hint}"


def unknown_kind(place: str, fault: ErrorDetails, models: list[type[BaseModel]]) -> str:
    """Return the message for a table with an unknown or missing `kind` (or `name`)."""
    context = fault.get("ctx", {})
    chooser = str(context["discriminator"]).strip("'")
    fields = (model.model_fields.get(chooser) for model in models)
    kinds = [str(field.default) for field in fields if field]
    shown = ("timm/NAME" if kind == "timm" else kind for kind in kinds)
    allowed = ", ".join(kind for kind in shown if kind != "custom")  # allowed only from Python
    if "tag" not in context:
        return f"{place} has no {chooser}; set {chooser} to one of {allowed}"
    tag = str(context["tag"])
    near = did_you_mean(tag, kinds, cutoff=0.5)
    hint = f"; {near}" if near else ""
    return f"{place}.{chooser} must be one of {allowed}, got {shortened(tag)}{hint}"


def nested(models: list[type[BaseModel]], key: str) -> list[str]:
    """Return the paths at which nested tables have a key, such as objective.temperature."""
    return [
        f"{name}.{key}"
        for model in models
        for name, field in model.model_fields.items()
        if any(key in kind.model_fields for kind in option_types(field.annotation))
    ]


def walk(keys: list[str], recipe: type[BaseModel]) -> tuple[list[str], list[type[BaseModel]]]:
    """Follow the location of an error through the option types, skipping names of union members.

    Returns the path in the recipe, and the option types that are possible there.
    """
    path: list[str] = []
    models: list[type[BaseModel]] = [recipe]
    for key in keys:
        below = [m for model in models for m in option_types_at(model, key)]
        chosen = [model for model in models if key in tags(model)]
        if not below and chosen:
            models = chosen
            continue
        path.append(key)
        is_entry = key.isdigit() or path[:-1] == ["stages"]  # entry of a list or table of tables
        models = models if is_entry else below
    return path, models


def option_types_at(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    """Return the option types that a field allows."""
    info = model.model_fields.get(field)
    return option_types(info.annotation) if info else []


def option_types(annotation: Any) -> list[type[BaseModel]]:
    """Return the option types that an annotation contains."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in option_types(argument)]


def tags(model: type[BaseModel]) -> set[Any]:
    """Return what selects this type in a union: a value of `kind` or `name`, or its own name."""
    fields = (model.model_fields.get(key) for key in CHOOSERS)
    return {model.__name__, *(field.default for field in fields if field)}


def shortened(value: Any) -> str:
    """Return the repr of a value, truncated to 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python does not format integers of more than 4,300 digits
        return "a number with thousands of digits"
    return text if len(text) <= 80 else text[:77] + "..."
