"""A folder ready for the Hugging Face Hub: model, recipe, assessment, report and model card."""

import json
import re
import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w
from scipy.stats import binomtest

from ruggedize.assess import Assessment, load_assessment
from ruggedize.core import files
from ruggedize.core.errors import UserError, shown
from ruggedize.core.licenses import KNOWN_LICENSES
from ruggedize.core.places import user_path
from ruggedize.core.reading import open_regular, read_bytes
from ruggedize.models import CARD_FILES, read_description
from ruggedize.report import origins, summary_rows, write_report

NOT_STATED = "not stated"
WEIGHTS = ("initial.safetensors", "probed.safetensors", "model.safetensors")
NOT_REPORTED = ("state", "report.html", *WEIGHTS)


class Licenses(NamedTuple):
    """The licences of the weights and of the data that they were trained on."""

    weights: str = NOT_STATED
    data: str = NOT_STATED


NO_LICENSES = Licenses()


class Card(NamedTuple):
    """What a model card is written from."""

    name: str
    stage: str
    data: str  # what the data are called, without the folders that they lie in
    assessment: Assessment
    licenses: Licenses
    origins: list[dict[str, Any]]  # weights of others that it started from


def write_card(
    run: Path | str, out: Path | str, licenses: Licenses = NO_LICENSES, *, stage: str = "student"
) -> Path:
    """Write a folder for the Hugging Face Hub from a finished run; return the card's path.

    The recipe, the assessment and the report are written without the folders of this machine.

    Args:
        run: the run folder.
        out: the new folder; its name becomes the model's.
        licenses: as you state them.
        stage: whose model it is.

    Raises:
        UserError: the run is not finished, its model is not the one that was assessed, or `out`
            holds other files.
    """
    run, out = user_path(run), user_path(out)
    files.reject_missing_run(run)
    reject_other_folder(out)
    assessment = without_places(load_assessment(run / "assessment.json"))
    model = run / stage / "model.safetensors"
    reject_other_model(model, stage, assessment)
    recipe = recipe_without_places(run / "recipe.toml")
    with files.whole_file(out / "model.safetensors") as target, open_regular(model) as source:
        shutil.copyfileobj(source, target)
    write_descriptions(run, out, recipe, assessment)
    name = out.resolve().name
    started = origins(run, stage)
    card = Card(name, stage, recipe["data"]["name"], assessment, licenses, started)
    text = readme(card, read_description(model).input_size)
    files.write_atomically(out / "README.md", text.encode())
    return out / "README.md"


def write_descriptions(
    run: Path, out: Path, recipe: dict[str, Any], assessment: Assessment
) -> None:
    """Write recipe, assessment and report; the report is made anew, from the first two."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / run.resolve().name
        shutil.copytree(run, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_REPORTED))
        for place in (copy, out):
            files.write_atomically(place / "recipe.toml", tomli_w.dumps(recipe).encode())
            files.write_json(place / "assessment.json", assessment.model_dump(mode="json"))
        write_report([copy], out / "report.html")


def reject_other_folder(out: Path) -> None:
    """Raise UserError for a folder that holds anything but an earlier card."""
    files.reject_unwritable_folder(out)
    others = sorted(path.name for path in out.glob("*") if path.name not in CARD_FILES)
    if others:
        raise UserError(
            f"{out} holds {', '.join(others[:3])}{', ...' if len(others) > 3 else ''};\n"
            "give a new folder with --out"
        )


def reject_other_model(model: Path, stage: str, assessment: Assessment) -> None:
    """Raise UserError for a model that is missing, or is not the one that was assessed."""
    if stage not in assessment.models:
        raise UserError(
            f"the run assessed no model {stage};\n"
            f"give --stage with one of {', '.join(assessment.models)}"
        )
    if not model.is_file():
        raise UserError(f"there is no {model};\nfinish the run first: ruggedize run RECIPE --out")
    known = assessment.facts.models.get(stage)
    if known is not None and known != files.sha256(model):
        raise UserError(
            f"{model} is not the model that was assessed;\n"
            "bring it back as it was, or train and assess it again"
        )


def recipe_without_places(path: Path) -> dict[str, Any]:
    """Read a recipe; folders of this machine are cut down to their last part."""
    if not path.is_file():
        raise UserError(f"there is no {path};\na card is made of a run's folder: ruggedize run")
    try:
        table = tomllib.loads(read_bytes(path).decode())
        table["data"].pop("root", None)
        table["data"]["name"] = last_part(table["data"]["name"])
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise UserError(f"{path} is damaged;\nbring it back as it was") from None
    for options in stages_in(table):
        if isinstance(start := options.get("start"), str):
            options["start"] = last_part(start)
        model = options.get("model")
        if isinstance(model, dict) and isinstance(model.get("pretrained"), str):
            model["pretrained"] = last_part(model["pretrained"])
    suite = table.get("assess", {}).get("suite")
    if suite:
        table["assess"]["suite"] = last_part(suite)
    return table


def stages_in(recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the options of every stage of a recipe."""
    stages = recipe.get("stages")
    named = [recipe.get("teacher"), recipe.get("student"), *(stages.values() if stages else ())]
    return [options for options in named if isinstance(options, dict)]


def without_places(assessment: Assessment) -> Assessment:
    """Return an assessment that names no folder of this machine."""
    facts = assessment.facts
    if facts.data is not None:
        data = facts.data.model_copy(update={"place": last_part(facts.data.place)})
        facts = facts.model_copy(update={"data": data})
    return assessment.model_copy(update={"facts": facts, "suite": last_part(assessment.suite)})


def last_part(place: str) -> str:
    """Return a folder's own name; another name stays as it is."""
    return Path(place).name if "/" in place else place


def readme(card: Card, input_size: int) -> str:
    """Return the model card: metadata for the Hub, results, limits, use and licences."""
    parts = [
        f"---\n{front_matter(card)}\n---",
        f"# {shown(card.name)}",
        f"An image classifier ({len(card.assessment.images.classes)} classes, {input_size} pixels) "
        f"trained and assessed with ruggedize {card.assessment.ruggedize}: the {card.stage} of a "
        f"run on {code(card.data)}. `recipe.toml` has every option, `report.html` every figure.",
        f"## Results\n\n{results_table(card)}",
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits(card)),
        f"## Use\n\n```python\n{usage(card.name)}\n```",
        f"## Classes\n\n{', '.join(map(code, card.assessment.images.classes))}",
        f"## Licences\n\n- weights: {shown(card.licenses.weights)}\n"
        f"- data that it was trained on: {shown(card.licenses.data)}"
        + "".join(f"\n- {origin_line(each)}" for each in card.origins),
    ]
    return "\n\n".join(parts) + "\n"


def origin_line(origin: dict[str, Any]) -> str:
    """Return the line on weights that the training started from."""
    license = origin.get("license")
    stated = f"{shown(license)}, as timm states it" if license else NOT_STATED
    sha256 = code(origin["sha256"])
    return f"weights that it started from, {code(origin['source'])}: {stated} (SHA-256 {sha256})"


def front_matter(card: Card) -> str:
    """Return the Hub's metadata, as YAML whose texts are written as in JSON."""
    lines = ["library_name: ruggedize", "pipeline_tag: image-classification"]
    lines += [f"tags: {json.dumps(['image-classification', 'robustness', 'common-corruptions'])}"]
    license = card.licenses.weights.lower()
    if license in KNOWN_LICENSES:
        lines.append(f"license: {license}")
    elif card.licenses.weights != NOT_STATED:
        lines += ["license: other", f"license_name: {quoted(card.licenses.weights)}"]
    index = [{"name": shown(card.name), "results": [result(card, *row) for row in figures(card)]}]
    return "\n".join([*lines, f"model-index: {quoted(index)}"])


def figures(card: Card) -> list[tuple[str, float]]:
    """Return the summaries that have a value, by title."""
    rows = ((row.title, row.values[card.stage]) for row in summary_rows(card.assessment))
    return [(title, value) for title, value in rows if value is not None]


def result(card: Card, title: str, value: float) -> dict[str, Any]:
    """Return one summary in the Hub's format: the accuracy on a set of images, as a fraction."""
    clean = title == "clean"
    name = card.data if clean else f"{card.data} ({card.assessment.suite} corruptions)"
    return {
        "task": {"type": "image-classification", "name": "Image Classification"},
        "dataset": {"type": slug(name), "name": f"{shown(name)}: {title}", "split": "test"},
        "metrics": [{"type": "accuracy", "name": "accuracy", "value": round(value, 6)}],
    }


def results_table(card: Card) -> str:
    """Return the summaries of the model beside the run's other models, in percent."""
    names = list(card.assessment.models)
    lines = [f"Accuracy in %, {card.assessment.images.num_images:,} test images.", ""]
    lines += [f"| | {' | '.join(names)} |", "|---" + "|---:" * len(names) + "|"]
    for row in summary_rows(card.assessment):
        values = [value for value in row.values.values() if value is not None]
        if values:
            cells = " | ".join(f"{100 * value:.2f}" for value in values)
            lines.append(f"| {row.title} | {cells} |")
    return "\n".join(lines)


def limits(card: Card) -> list[str]:
    """Return what the figures do not show."""
    found, clean = card.assessment, card.assessment.models[card.stage].clean
    interval = binomtest(clean.correct, clean.n).proportion_ci(method="wilson")
    result = [
        f"Assessed on {found.images.num_images:,} of {found.images.available:,} test images: its "
        f"clean accuracy of {100 * clean.accuracy:.2f} % has a 95 % interval of "
        f"{100 * interval.low:.2f} to {100 * interval.high:.2f} % (Wilson)."
    ]
    if found.unpaired:
        reason = found.unpaired.reason
        result.append(f"The corrupted images are not those of the clean set: {reason}.")
    result.append(overlap_limit(found))
    for row in summary_rows(found):
        if row.values[card.stage] is None:
            result.append(f"{row.title}: {row.coverage}")
    result.append("It knows its classes alone: any other picture is put into one of them.")
    return result


def overlap_limit(assessment: Assessment) -> str:
    """Return which corruptions resemble the noise of the training."""
    overlaps = assessment.facts.overlaps
    if overlaps is None:
        return "Whether the training noise overlaps the corruptions is not known."
    pairs = [f"{name} ({', '.join(found)})" for name, found in overlaps.items() if found]
    if not pairs:
        return "The training noise overlaps none of the corruptions."
    return (
        "The training noise overlaps corruptions, whose figures say less about unseen ones: "
        + "; ".join(pairs)
        + "."
    )


def usage(name: str) -> str:
    """Return the lines that load the model and classify an image."""
    return (
        "from PIL import Image\n\nfrom ruggedize import load_model\n\n"
        f'model = load_model("hf:ORG/{shown(name)}", download=True)\n'
        'found = model.predict([Image.open("photo.jpg")])\n'
        "print(model.classes[found.labels[0]])"
    )


def code(text: str) -> str:
    """Write a name so that nothing in it is markup."""
    return "`" + shown(text).replace("`", "'") + "`"


def slug(text: str) -> str:
    """Return a name in lower case, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "data"


def quoted(value: Any) -> str:
    """Write a value as JSON, which is YAML too."""
    return json.dumps(value, ensure_ascii=False)
