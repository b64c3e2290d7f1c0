"""A whole run described: validated, TOML in and out; torch is not imported here."""

import difflib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, get_args

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ruggedize.assess import AssessOptions, published_only
from ruggedize.core.errors import UserError
from ruggedize.core.tables import flat
from ruggedize.data import DataOptions
from ruggedize.recipe.merge import CHOOSERS, StageName, merged, with_stages
from ruggedize.train import ConsistencyOptions, StageOptions, StudentOptions, TrainingOptions
from ruggedize.views import ViewOptions

SHIPPED = resources.files("ruggedize.recipe") / "shipped"
WHERE_AND_HOW = ("data.root", "data.streaming", "data.workers")  # of reading: the same images
KINDS = {  # what pydantic calls a fault, and what a recipe has in that place
    "tuple_type": "a list, e.g. [{}]",
    "model": "a table of options",
    "dict": "a table of options",
    "int": "a whole number",
    "float": "a number",
    "string": 'a text, e.g. "{}"',
    "bool": "true or false",
}
DEEPEST = 8  # parts of an option's dotted name


class Recipe(BaseModel):
    """What is trained on which images, in which views, and how it is examined."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    seed: int = Field(default=0, ge=0, description="fixes weights, order, views and corruptions")
    data: DataOptions
    views: ViewOptions = ViewOptions()
    teacher: TrainingOptions
    student: StudentOptions
    stages: dict[StageName, StageOptions] = Field(
        default={}, description="further stages by name, trained in this order after the student"
    )
    assess: Annotated[AssessOptions, AfterValidator(published_only)] = AssessOptions()

    @model_validator(mode="after")
    def one_geometry(self) -> "Recipe":
        """Raise if the noisy view shares a geometry that the teacher's view does not have."""
        for name, options in self.all_stages.items():
            objective = options.objective
            asks = isinstance(objective, ConsistencyOptions) and objective.clean_view == "test"
            if self.views.geometry == "shared" and asks:
                raise ValueError(
                    f'views.geometry = "shared" and {name}.objective.clean_view = "test" exclude '
                    "each other: the test view is neither flipped nor cropped; "
                    'set views.geometry = "independent"'
                )
        return self

    @model_validator(mode="after")
    def stages_before(self) -> "Recipe":
        """Raise if a stage learns from one that is not trained before it."""
        before: list[str] = []
        for name, options in self.all_stages.items():
            source = options.learns_from if isinstance(options, StudentOptions) else None
            if source is not None and source not in before:
                raise ValueError(
                    f"{name} learns from {source}, which is no stage before it; "
                    f"name one of {', '.join(before)}"
                )
            objective = options.objective
            learns = isinstance(objective, ConsistencyOptions) and objective.consistency_weight > 0
            if learns and source is None:
                raise ValueError(
                    f"{name} learns by consistency and names no teacher; add learns_from = "
                    '"STAGE", or take objective = "supervised"'
                )
            before.append(name)
        return self

    @property
    def all_stages(self) -> dict[str, TrainingOptions]:
        """All stages by name, in the order in which they are trained."""
        return {"teacher": self.teacher, "student": self.student, **self.stages}


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
        raise UserError(f"recipe {name_or_path}: {explained(error)}") from None


def recipe_toml(recipe: Recipe) -> str:
    """Write the resolved recipe: every option with its value."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def differing_keys(ours: Recipe, theirs: Recipe) -> list[str]:
    """Name the options in which two recipes differ; how the data is read does not count."""
    return differing(ours.model_dump(mode="json"), theirs.model_dump(mode="json"))


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Name the options in which two recipes differ that are given as tables."""
    left, right = flat(ours), flat(theirs)
    keys = sorted(left.keys() | right.keys())
    return [key for key in keys if key not in WHERE_AND_HOW and left.get(key) != right.get(key)]


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


def explained(error: ValidationError) -> str:
    """Format one fault as one line: where, what came, what is allowed; an unknown key first."""
    faults = error.errors()
    fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    if not fault["loc"]:  # parts that are right by themselves and contradict each other
        return fault["msg"].removeprefix("Value error, ")
    *above, last = (str(part) for part in fault["loc"])
    path, models = walk(above)
    if fault["type"] == "extra_forbidden":
        known = sorted({key for model in models for key in model.model_fields})
        inner = [f"{'.'.join(path)}.{name}" for name in nested(models, last)]
        near = inner or difflib.get_close_matches(last, known, 1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key {'.'.join([*path, last])}; {hint}"
    place = ".".join(walk([*above, last])[0]) or "recipe"
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


def walk(parts: list[str]) -> tuple[list[str], list[type[BaseModel]]]:
    """Follow an error's place down the option types; leave out the names of union members."""
    path: list[str] = []
    models: list[type[BaseModel]] = [Recipe]
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
