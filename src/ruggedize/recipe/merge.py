"""Tables of a recipe before they are validated: laid over one another, stages spelled out."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator

from ruggedize.core.errors import UserError

CONTROL = "noise-only"
CHOOSERS = ("kind", "name")  # a table in which one of these differs is another thing altogether
RESERVED = ("teacher", "student", "examples", "predictions")  # names in a run folder


def stage_name(name: str) -> str:
    """Raise unless this can name a further stage and its folder."""
    if name in RESERVED or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", name):
        raise ValueError(
            f"a stage's name has small letters, digits, - and _, and is none of "
            f"{', '.join(RESERVED)}; got {name[:80]!r}"
        )
    return name


StageName = Annotated[str, AfterValidator(stage_name)]


def with_stages(table: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a recipe's table with every stage spelled out.

    `student.generations = 3` becomes the stages student-2 and student-3, `control = true` the
    stage noise-only, and `like = "STAGE"` the options of that stage under those of its own.

    Raises:
        UserError: one of them is not what it should be.
    """
    student = table.get("student")
    generations = student.get("generations", 1) if isinstance(student, dict) else 1
    control, stages = table.get("control", False), table.get("stages", {})
    if not isinstance(generations, int) or isinstance(generations, bool) or generations < 1:
        raise UserError(f"recipe {name}: student.generations must be 1 or more, got {generations}")
    if not isinstance(control, bool):
        raise UserError(f"recipe {name}: control must be true or false, got {control!r}")
    if not isinstance(stages, dict):
        return table
    if control and CONTROL in stages:
        raise UserError(
            f"recipe {name}: control = true makes the stage {CONTROL}, which is there already;\n"
            "leave out one of them"
        )
    rest = {key: value for key, value in table.items() if key not in ("control", "stages")}
    if isinstance(student, dict):
        rest["student"] = {key: value for key, value in student.items() if key != "generations"}
    made = control_stage(rest) if control else {}
    for number in range(2, generations + 1):
        before = "student" if number == 2 else f"student-{number - 1}"
        made[f"student-{number}"] = {"like": "student", "learns_from": before}
    return rest | {"stages": resolved({**made, **stages}, rest, name)} if made or stages else rest


def control_stage(table: dict[str, Any]) -> dict[str, Any]:
    """Return the stage that trains as the student does, on the same noise without a teacher."""
    student = table.get("student", {})
    objective = student.get("objective", {}) if isinstance(student, dict) else {}
    smoothing = objective.get("label_smoothing") if isinstance(objective, dict) else None
    own = {"kind": "supervised"} | ({} if smoothing is None else {"label_smoothing": smoothing})
    return {CONTROL: {"like": "student", "objective": own, "views": "noisy"}}


def resolved(stages: dict[str, Any], table: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the stages with the options of the stage that each is like."""
    done: dict[str, Any] = {}
    for stage, own in stages.items():
        if not isinstance(own, dict) or "like" not in own:
            done[stage] = own
            continue
        like = own["like"]
        known = {key: table[key] for key in ("teacher", "student") if key in table} | done
        if like not in known:
            raise UserError(
                f"recipe {name}: stages.{stage}.like names no stage before it, got {like!r};\n"
                f"name one of {', '.join(known)}"
            )
        base = {key: value for key, value in known[like].items() if key != "learns_from"}
        done[stage] = merged(base, {key: value for key, value in own.items() if key != "like"})
    return done


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge one table over another; a table of another kind replaces the one below it."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, str) and isinstance(value, dict):
            below = {chooser_for(key): below}
        if isinstance(below, dict) and isinstance(value, dict):
            same = all(value.get(c, below.get(c)) == below.get(c) for c in CHOOSERS)
            result[key] = merged(below, value) if same or key == "data" else value
        else:
            result[key] = value
    return result


def chooser_for(key: str) -> str:
    """Return the option that a bare string under this key sets."""
    return "name" if key == "model" else "kind"
