"""Merging of recipe tables and expansion of stages, before validation."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator

from ruggedize.core.errors import UserError
from ruggedize.data import BUILT_IN
from ruggedize.train import UNTAUGHT

CONTROL = "noise-only"
CHOOSERS = ("kind", "name")  # keys that select the type of a table
RESERVED = ("teacher", "student", "examples", "predictions")  # names of other folders in a run


def stage_name(name: str) -> str:
    """Return the name of an additional stage; raise ValueError if it cannot be a folder name."""
    if name in RESERVED or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", name):
        raise ValueError(
            f"a stage name must have only lower-case letters, digits, - and _, and must not be "
            f"{', '.join(RESERVED[:-1])} or {RESERVED[-1]}, got {name[:80]!r}; rename the stage"
        )
    return name


StageName = Annotated[str, AfterValidator(stage_name)]


def with_stages(table: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the table of a recipe with all stages expanded.

    `student.generations = 3` adds the stages student-2 and student-3 (which is skipped if student-2
    is no better than student), `control = true` adds the
    stage noise-only, and `like = "STAGE"` uses the options of that stage as defaults.

    Raises:
        UserError: one of these options has an invalid value.
    """
    student = table.get("student")
    generations = student.get("generations", 1) if isinstance(student, dict) else 1
    control, stages = table.get("control", False), table.get("stages", {})
    if not isinstance(generations, int) or isinstance(generations, bool) or generations < 1:
        raise UserError(
            f"recipe {name}: student.generations must be a whole number of at least 1, got "
            f"{generations};\nset student.generations = 1, or omit it"
        )
    if not isinstance(control, bool):
        raise UserError(
            f"recipe {name}: control must be true or false, got {control!r};\nset control = true"
        )
    if control and isinstance(stages, dict) and CONTROL in stages:
        raise UserError(
            f"recipe {name}: control = true adds the stage {CONTROL}, which already exists;\n"
            "remove one of them"
        )
    rest = {key: value for key, value in table.items() if key not in ("control", "stages")}
    if isinstance(student, dict):
        rest["student"] = {key: value for key, value in student.items() if key != "generations"}
    if not isinstance(stages, dict):  # validation reports this error
        return rest | {"stages": stages}
    if generations > 1 and isinstance(student, dict) and is_untaught(student.get("objective")):
        raise UserError(
            f"recipe {name}: student.generations needs an objective with a teacher, and that of "
            "the student has none;\nremove student.generations, or set student.objective.kind"
        )
    added = control_stage(rest) if control else {}
    for number in range(2, generations + 1):
        before = "student" if number == 2 else f"student-{number - 1}"
        added[f"student-{number}"] = {"like": "student", "learns_from": before}
        if isinstance(student, dict) and student.get("start") == "teacher":  # its own teacher
            added[f"student-{number}"]["start"] = before
        if number > 2:  # there are two generations to compare
            added[f"student-{number}"]["requires_gain"] = True
    if generations > 1:
        last = f"student-{generations}"
        stages = {key: ending_at(options, last) for key, options in stages.items()}
    stages = added | stages
    return rest | {"stages": resolved(stages, rest, name)} if stages else rest


def ending_at(options: Any, last: str) -> Any:
    """Return a stage whose interpolation ends at the last generation in place of the student."""
    is_wise = isinstance(options, dict) and options.get("interpolate") == "student"
    return options | {"interpolate": last} if is_wise else options


def control_stage(table: dict[str, Any]) -> dict[str, Any]:
    """Return the control stage, which has the student's options and noise but no teacher."""
    student = table.get("student", {})
    objective = student.get("objective", {}) if isinstance(student, dict) else {}
    smoothing = objective.get("label_smoothing") if isinstance(objective, dict) else None
    supervised = {"kind": "supervised"}
    if smoothing is not None:
        supervised["label_smoothing"] = smoothing
    return {CONTROL: {"like": "student", "objective": supervised, "views": "noisy"}}


def resolved(stages: dict[str, Any], table: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the stages, each merged over the stage that its `like` names, if any."""
    done: dict[str, Any] = {}
    for stage, options in stages.items():
        if not isinstance(options, dict) or "like" not in options:
            done[stage] = options
            continue
        like = options["like"]
        known = {key: table[key] for key in ("teacher", "student") if key in table} | done
        if like == "teacher" and isinstance(known.get(like), dict):
            known[like] = {"objective": "supervised"} | known[like]  # a teacher's default
        if like not in known:
            raise UserError(
                f"recipe {name}: stages.{stage}.like must be an earlier stage, got {like!r};\n"
                f"use one of {', '.join(known)}"
            )
        own = ("learns_from", "requires_gain")  # of a stage, and not copied
        base = {key: value for key, value in known[like].items() if key not in own}
        done[stage] = merged(base, {key: value for key, value in options.items() if key != "like"})
    return done


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge the table `over` over `under`; a nested table of another kind replaces the old one."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, str) and isinstance(value, dict):
            below = {chooser_for(key): below}
        if isinstance(below, dict) and isinstance(value, dict):
            kinds = [(below.get(chooser), value.get(chooser)) for chooser in CHOOSERS]
            same_kind = all(new in (None, old) or old == "auto" for old, new in kinds)
            result[key] = merged(below, value) if same_kind or key == "data" else value
        else:
            result[key] = value
    if "objective" in over and "learns_from" not in over and is_untaught(result["objective"]):
        result.pop("learns_from", None)
    return result


def is_untaught(objective: Any) -> bool:
    """Return whether an objective in a table is of a kind without a teacher."""
    kind = objective.get("kind") if isinstance(objective, dict) else objective
    return isinstance(kind, str) and kind in UNTAUGHT


def for_own_data(table: Any, over: Any) -> Any:
    """Return the base's options of the data without those that fit its own data alone.

    A count of validation images, or that the last ones are taken, was chosen for the data of the
    base. A folder, a table or `hf:NAME` in its place starts from the defaults.
    """
    if not isinstance(table, dict) or not isinstance(over, dict):
        return table
    name = over.get("name", table.get("name"))
    if name == table.get("name") or name in BUILT_IN:
        return table
    share = table.get("validation")
    fits_any = isinstance(share, float) or share == "auto"
    is_kept = {"validation": fits_any, "validation_choice": False}
    return {key: value for key, value in table.items() if is_kept.get(key, True)}


def chooser_for(key: str) -> str:
    """Return the key that a plain string sets if it takes the place of a table."""
    return "name" if key == "model" else "kind"
