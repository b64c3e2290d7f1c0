"""Reading of study files. Does not import torch."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from ruggedize.core.errors import UserError, did_you_mean, shown
from ruggedize.core.places import user_path
from ruggedize.core.reading import read_bytes
from ruggedize.core.tables import MAX_DEPTH, is_too_deep
from ruggedize.recipe import Recipe, load_recipe, with_places_beside
from ruggedize.study.options import Budget, Seeds, StudyOptions
from ruggedize.train import Workload

COPY = "study.toml"  # the study file, in the folder of its runs
Table = TypeVar("Table", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study file and what it contains."""

    path: Path
    header: str  # first line of the file
    options: StudyOptions
    budgets: dict[str, Budget | None]  # by arm
    seeds: dict[str, tuple[int, ...]]  # by arm
    tables: dict[str, dict[str, Any]]  # recipe options by arm

    @property
    def name(self) -> str:
        """Return the name of the study: that of its file, without the suffix."""
        return self.path.stem

    @property
    def baseline(self) -> str:
        """Return the arm that differences refer to."""
        return self.options.baseline or next(iter(self.tables))

    @property
    def runs(self) -> list[tuple[str, int]]:
        """List arm and seed of every run, seed by seed, so that arms can be compared early."""
        own = (seed for seeds in self.seeds.values() for seed in seeds)
        order = dict.fromkeys((*self.options.seeds, *own))
        return [(arm, seed) for seed in order for arm in self.tables if seed in self.seeds[arm]]

    def results(self, out: Path) -> Path:
        """Return the folder for the summaries of finished runs."""
        named = self.options.results
        return out / "results" if named is None else self.path.parent / user_path(named)

    def recipe(self, arm: str, seed: int, changes: tuple[str, ...] = ()) -> Recipe:
        """Return the recipe of an arm, with its own epochs: no budget is applied.

        Raises:
            UserError: the recipe is invalid.
        """
        beside = self.path.parent / user_path(self.options.base)
        base = beside if beside.is_file() else self.options.base
        has_root = any(change.startswith("data.root=") for change in changes)
        tables = [
            with_places_beside(table, self.path.parent, has_root=has_root)
            for table in (self.options.recipe, self.tables[arm])
        ]
        try:
            return load_recipe(
                base, changes, tables=(*tables, {"seed": seed}), choose=reject_choice
            )
        except UserError as error:
            raise UserError(f"study {self.name}, arm {arm}: {error}") from None


def reject_choice(workload: Workload) -> str:
    """Raise UserError for a network that is "auto", which the speed of a machine would choose."""
    raise UserError(
        'the network must be named in a study, got "auto";\n'
        f"set teacher.model.name, for example timm/{workload.candidates[0]}"
    )


def load_study(place: Path | str) -> Study:
    """Load a study file and check all of its recipes.

    Raises:
        UserError: the file is missing or invalid, or the recipe of an arm is.
    """
    path = user_path(place)
    if not path.is_file():
        raise UserError(f"there is no study {shown(path)};\nuse the path of a TOML file")
    text = read_bytes(path).decode("utf-8", errors="replace")
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown(path)} is not valid TOML: {error};\ncorrect the file") from None
    if is_too_deep(table):
        raise UserError(
            f"{shown(path)} is nested more than {MAX_DEPTH} levels deep;\ncorrect the file"
        )
    options = validated(StudyOptions, table, path)
    budgets: dict[str, Budget | None] = {}
    for name, arm in options.arms.items():
        own = arm.get("budget")
        prefix = f"arms.{name}.budget."
        budgets[name] = options.budget if own is None else validated(Budget, own, path, prefix)
    seeds = {name: seeds_of(name, options, path) for name in options.arms}
    study = Study(
        path=path,
        header=text.partition("\n")[0].lstrip("# "),
        options=options,
        budgets=budgets,
        seeds=seeds,
        tables={name: recipe_options(arm) for name, arm in options.arms.items()},
    )
    for name, own_seeds in seeds.items():
        study.recipe(name, own_seeds[0])
    return study


def seeds_of(arm: str, options: StudyOptions, path: Path) -> tuple[int, ...]:
    """Return the seeds of an arm: its own, or those of the study."""
    try:
        return TypeAdapter(Seeds).validate_python(options.arms[arm].get("seeds", options.seeds))
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise UserError(
            f"{shown(path)}, arms.{arm}.seeds: {shown(message)};\n"
            "use a list of distinct integers from 0, for example seeds = [0, 1, 2]"
        ) from None


def recipe_options(arm: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe options of an arm."""
    return {key: value for key, value in arm.items() if key not in {"budget", "seeds"}}


def validated(kind: type[Table], table: Any, path: Path, prefix: str = "") -> Table:
    """Parse a table; raise UserError for the first invalid entry, named after `prefix`."""
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = f"{prefix}{'.'.join(map(str, fault['loc']))}".rstrip(".")
        message = fault["msg"].removeprefix("Value error, ")
        in_budget = kind is Budget or fault["loc"][:1] == ("budget",)
        title, entries = ("budget", Budget) if in_budget else ("study file", StudyOptions)
        hint = f"the entries of a {title} are {', '.join(entries.model_fields)}"
        if fault["type"] == "extra_forbidden":
            message = "unknown entry"
            hint = did_you_mean(str(fault["loc"][-1]), entries.model_fields) or hint
        elif fault["type"] == "value_error":
            message, _, own = message.partition("; ")
            hint = own or hint
        where = ", ".join(shown(part) for part in (path, place) if part)
        raise UserError(f"{where}: {shown(message)};\n{hint}") from None


def run_folders(out: Path) -> list[Path]:
    """Return the assessed runs in the folder of a study; empty if it is not such a folder."""
    if not (out / COPY).is_file():
        return []
    return [path.parent for path in sorted(out.glob("*/assessment.json"))]
