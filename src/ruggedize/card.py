"""A folder ready for the Hugging Face Hub: model, recipe, assessment, report and model card."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import tomli_w
from scipy.stats import binomtest

from ruggedize.assess import Assessment, load_assessment
from ruggedize.core import files
from ruggedize.core.errors import UserError, shown
from ruggedize.core.licenses import KNOWN_LICENSES
from ruggedize.core.places import user_path
from ruggedize.core.reading import open_regular, reject_outside
from ruggedize.models import CARD_FILES, TimmOptions, main_stage, read_description
from ruggedize.report import (
    origins,
    recipe_without_places,
    summary_rows,
    without_places,
    write_report,
)

NOT_STATED = "not stated"
MAX_COPIED = 1 << 32  # bytes of a file of a run; predictions have some 0.1 GB
WEIGHTS = ("initial.safetensors", "probed.safetensors", "model.safetensors")
NOT_REPORTED = ("state", "report.html", *WEIGHTS)


class Licenses(NamedTuple):
    """Licences of the weights and of the training data."""

    weights: str = NOT_STATED
    data: str = NOT_STATED


NO_LICENSES = Licenses()


class Card(NamedTuple):
    """Everything that a model card is written from."""

    name: str
    stage: str
    data: str  # name of the data set, without folders
    assessment: Assessment
    licenses: Licenses
    origins: list[dict[str, Any]]  # weights of others that it started from
    network: str  # timm/NAME, or the name of one of ruggedize's own


def write_card(
    run: Path | str,
    out: Path | str,
    licenses: Licenses = NO_LICENSES,
    *,
    stage: str | None = None,
) -> Path:
    """Write a folder for the Hugging Face Hub from a finished run; return the card's path.

    Paths of this machine are removed from the recipe, the assessment and the report.

    Args:
        run: folder of a finished run.
        out: the new folder; its name becomes the model's name.
        licenses: the licences to state in the card.
        stage: the stage whose model is published; the last one if not given.

    Raises:
        UserError: the run is not finished, its model is not the one that was assessed, or `out`
            contains other files.
    """
    run, out = user_path(run), user_path(out)
    files.reject_missing_run(run)
    reject_other_folder(out)
    stage = main_stage(run) if stage is None else stage
    model = run / stage / "model.safetensors"
    for path in (run / "assessment.json", run / "recipe.toml", model):
        reject_outside(path, run)
    assessment = without_places(load_assessment(run / "assessment.json"))
    reject_other_model(model, stage, assessment)
    recipe = recipe_without_places(run / "recipe.toml")
    with files.whole_file(out / "model.safetensors") as target, open_regular(model) as source:
        shutil.copyfileobj(source, target)
    write_descriptions(run, out, recipe, assessment)
    name = out.resolve().name
    started = origins(run, stage)
    data_name = cast("dict[str, str]", recipe["data"])["name"]
    described = read_description(model)
    options = described.architecture
    network = f"timm/{options.architecture}" if isinstance(options, TimmOptions) else options.name
    card = Card(name, stage, data_name, assessment, licenses, started, network)
    text = readme(card, described.input_size)
    files.write_atomically(out / "README.md", text.encode())
    return out / "README.md"


def write_descriptions(
    run: Path, out: Path, recipe: Mapping[str, object], assessment: Assessment
) -> None:
    """Write recipe and assessment, and a new report that is made from them."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / run.resolve().name
        ignored = shutil.ignore_patterns(*NOT_REPORTED)
        shutil.copytree(run, copy, symlinks=True, ignore=ignored, copy_function=copy_regular)
        for place in (copy, out):
            files.write_atomically(place / "recipe.toml", tomli_w.dumps(recipe).encode())
            files.write_json(place / "assessment.json", assessment.model_dump(mode="json"))
        write_report([copy], out / "report.html")


def copy_regular(source: str, target: str) -> None:
    """Copy a regular file of limited size, since one with holes may be of any length."""
    if os.stat(source).st_size > MAX_COPIED:
        raise UserError(
            f"{source} has more than {MAX_COPIED:,} bytes;\nremove it from the run's folder"
        )
    with open_regular(Path(source)) as opened, Path(target).open("wb") as copied:
        shutil.copyfileobj(opened, copied)


def reject_other_folder(out: Path) -> None:
    """Raise UserError if a folder contains anything but an earlier card."""
    files.reject_unwritable_folder(out)
    others = sorted(path.name for path in out.glob("*") if path.name not in CARD_FILES)
    if others:
        raise UserError(
            f"{out} contains {', '.join(others[:3])}{', ...' if len(others) > 3 else ''};\n"
            "choose a new folder with --out"
        )


def reject_other_model(model: Path, stage: str, assessment: Assessment) -> None:
    """Raise UserError if a model is missing, or is not the one that was assessed."""
    if stage not in assessment.models:
        raise UserError(
            f"--stage must be one of {', '.join(assessment.models)}, got {stage};\n"
            "choose a model that the run has assessed"
        )
    if not model.is_file():
        raise UserError(f"there is no {model};\nfinish the run first with ruggedize run")
    known = assessment.facts.models.get(stage)
    if known is not None and known != files.sha256(model):
        raise UserError(
            f"{model} is not the model that was assessed;\nrestore it, or train and assess it again"
        )


def readme(card: Card, input_size: int) -> str:
    """Return the model card: metadata for the Hub, results, limits, use and licences."""
    parts = [
        f"---\n{front_matter(card)}\n---",
        f"# {shown(card.name)}",
        f"An image classifier ({len(card.assessment.images.classes)} classes, {input_size} pixels) "
        f"trained and assessed with ruggedize {card.assessment.ruggedize}. The network is "
        f"{code(card.network)}, with the weights of stage {code(card.stage)} of a run on "
        f"{code(card.data)}. `recipe.toml` lists all options, `report.html` all results.",
        f"## Results\n\n{results_table(card)}",
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits(card)),
        f"## Use\n\n{install_line(card.network)}```python\n{usage(card.name, card.network)}\n```",
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
    """Return the Hub's metadata as YAML, with strings quoted as in JSON."""
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
    """Return title and value of each summary that has a value."""
    rows = ((row.title, row.values[card.stage]) for row in summary_rows(card.assessment))
    return [(title, value) for title, value in rows if value is not None]


def result(card: Card, title: str, value: float) -> dict[str, Any]:
    """Return one summary in the Hub's format; the accuracy is a fraction."""
    clean = title == "clean"
    name = card.data if clean else f"{card.data} ({card.assessment.suite} corruptions)"
    return {
        "task": {"type": "image-classification", "name": "Image Classification"},
        "dataset": {"type": slug(name), "name": f"{shown(name)}: {title}", "split": "test"},
        "metrics": [{"type": "accuracy", "name": "accuracy", "value": round(value, 6)}],
    }


def results_table(card: Card) -> str:
    """Return a table of the accuracies of all models of the run, in percent."""
    names = list(card.assessment.models)
    images = card.assessment.images
    chance = f"chance level {100 / len(images.classes):.2f} %"
    lines = [f"Accuracy in %, {images.num_images:,} test images; {chance}.", ""]
    lines += [f"| | {' | '.join(names)} |", "|---" + "|---:" * len(names) + "|"]
    for row in summary_rows(card.assessment):
        values = [value for value in row.values.values() if value is not None]
        if values:
            cells = " | ".join(f"{100 * value:.2f}" for value in values)
            lines.append(f"| {row.title} | {cells} |")
    return "\n".join(lines)


def limits(card: Card) -> list[str]:
    """Return the limits of the results, one sentence each."""
    found, clean = card.assessment, card.assessment.models[card.stage].clean
    interval = binomtest(clean.correct, clean.n).proportion_ci(method="wilson")
    result = [
        f"Assessed on {found.images.num_images:,} of {found.images.available:,} test images: its "
        f"clean accuracy of {100 * clean.accuracy:.2f} % has a 95 % interval of "
        f"{100 * interval.low:.2f} to {100 * interval.high:.2f} % (Wilson). Chance level is "
        f"{100 / len(found.images.classes):.2f} %."
    ]
    if found.unpaired:
        reason = found.unpaired.reason
        result.append(f"The corrupted images are not versions of the clean ones: {reason}.")
    result.append(overlap_limit(found))
    for row in summary_rows(found):
        if row.values[card.stage] is None:
            result.append(f"{row.title}: {row.coverage}")
    result.append("It always predicts one of its classes, even if an image shows none of them.")
    return result


def overlap_limit(assessment: Assessment) -> str:
    """Return a sentence on the corruptions that overlap the training noise."""
    overlaps = assessment.facts.overlaps
    if overlaps is None:
        return "Whether the training noise overlaps the corruptions is not recorded."
    pairs = [f"{name} ({', '.join(found)})" for name, found in overlaps.items() if found]
    if not pairs:
        return "The training noise overlaps none of the corruptions."
    return (
        "The training noise overlaps some corruptions, so results on these say less about unseen "
        "corruptions: " + "; ".join(pairs) + "."
    )


def install_line(network: str) -> str:
    """Return the pip command that a timm network needs; empty for other networks."""
    return "`pip install 'ruggedize[timm]'`\n\n" if network.startswith("timm/") else ""


def usage(name: str, network: str) -> str:
    """Return Python code that loads the model and classifies an image."""
    own, note = "", ""
    if network == "custom":
        own = ", network=MyNetwork()"
        note = (
            "# MyNetwork: the class that was trained, whose code is not part of this repository\n"
        )
    return (
        f"from PIL import Image\n\nfrom ruggedize import load_model\n\n{note}"
        f'model = load_model("hf:ORG/{shown(name)}", download=True{own})\n'
        'found = model.predict([Image.open("photo.jpg")])\n'
        "print(model.classes[found.labels[0]])"
    )


def code(text: str) -> str:
    """Format a name as inline code, so that nothing in it is read as markup."""
    return "`" + shown(text).replace("`", "'") + "`"


def slug(text: str) -> str:
    """Return a name in lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "data"


def quoted(value: Any) -> str:
    """Format a value as JSON, which is also valid YAML."""
    return json.dumps(value, ensure_ascii=False)
