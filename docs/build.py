"""Write docs/recipes.md from the option types, and the API's pages (pdoc) into build/docs."""

import importlib
from pathlib import Path
from typing import Any

import pdoc

from ruggedize.recipe import Recipe, shipped_recipes

DOCS = Path(__file__).parent
PACKAGES = ["ruggedize"] + [
    f"ruggedize.{part}"
    for part in ("assess", "corruptions", "data", "models", "report", "train", "views")
]
HEAD = """# Every option of a recipe

*Written by `make docs` from the option types; the descriptions are what the code checks.*

A recipe is a TOML file. `base = "NAME"` starts from a shipped recipe or from a file beside it;
what the file says goes over its base, and `--set section.key=value` over both. Where an option
chooses a kind, the bare word is enough: `averaging = "ema"` is `averaging = { kind = "ema" }`.

- **Objectives.** `objective` is `supervised` (labels alone), `consistency` (labels, and a frozen
  teacher), `jsd` (labels, and the same prediction for a clean and two noisy views) or
  `mean-teacher` (labels, and the network's own moving average). Losses:
  [method.md](method.md#objectives).
- **Stages.** `teacher` and `student` are in every recipe; `[stages.NAME]` adds one, trained after
  them. `like = "STAGE"` takes the options of a stage before it, `learns_from = "STAGE"` its model
  as the teacher.
- **`control = true`** (default `false`) adds the stage `noise-only`: the student's options, noisy
  views, labels alone.
- **`student.generations = N`** (default 1) adds `student-2` to `student-N`, each taught by the one
  before it.
- **`microbatches`** computes a step in parts, one after the other, to save memory.

A resolved recipe (`recipe.toml` in a run's folder) has all of these spelled out as stages.
"""


def reference() -> str:
    """Format every option type as a table."""
    schema = Recipe.model_json_schema()
    parts = [HEAD, "## Shipped recipes\n", "| name | what it does |", "|---|---|"]
    parts += [f"| `{name}` | {header} |" for name, header in shipped_recipes().items()]
    parts += ["", "## A recipe\n", *table(schema)]
    for name, definition in sorted(schema["$defs"].items()):
        parts += [f"\n## {name}\n", definition.get("description", ""), "", *table(definition)]
    return "\n".join(parts) + "\n"


def table(definition: dict[str, Any]) -> list[str]:
    """Return one row an option: name, kind, default, meaning."""
    rows = ["| option | takes | default | meaning |", "|---|---|---|---|"]
    for name, option in definition["properties"].items():
        default = f"`{option['default']!r}`" if "default" in option else "required"
        meaning = option.get("description", "").replace("\n", " ").replace("|", "\\|")
        rows.append(f"| `{name}` | {taken(option)} | {default.replace('|', '/')} | {meaning} |")
    return rows


def taken(option: dict[str, Any]) -> str:
    """Describe what an option takes."""
    if "$ref" in option:
        name = option["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in option:
            return " or ".join(taken(choice) for choice in option[key])
    if "enum" in option:
        return ", ".join(f"`{value}`" for value in option["enum"])
    if "const" in option:
        return f"`{option['const']}`"
    if option.get("type") == "array":
        items = option.get("items") or {"type": "any"}
        return f"list of {taken(items)}"
    return str(option.get("type", "any")).replace("null", "nothing")


def main() -> None:
    """Write both."""
    (DOCS / "recipes.md").write_text(reference())
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:  # resolved at first use, which pdoc does not wait for
            setattr(module, name, getattr(module, name))
    pdoc.pdoc(*PACKAGES, output_directory=DOCS.parent / "build" / "docs")


if __name__ == "__main__":
    main()
