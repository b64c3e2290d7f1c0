"""Suggestions on what to try next, by simple rules over the results. Imports no torch."""

from collections.abc import Iterable, Iterator
from typing import Any

from ruggedize.assess import Guessing, ModelAssessment, no_better_than
from ruggedize.report.calibration import Reliability
from ruggedize.report.classes import ClassTable
from ruggedize.report.compare import shown_severity, summary_rows
from ruggedize.report.intervals import share_interval
from ruggedize.report.record import RunRecord
from ruggedize.report.support import Support

FAMILIES = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    "weather": ("snow", "frost", "fog", "spatter"),
    "brightness, contrast and colour": ("brightness", "contrast", "saturate"),
    "compression and distortion": ("jpeg_compression", "pixelate", "elastic_transform"),
}
TRIALS = {  # by family: kinds of noise, and advice for trainings without them
    "noise": (
        {"additive_noise", "lp_noise", "patch_noise"},
        "training on additive noise (`additive_noise` in a recipe's `views.noise`)",
    ),
    "blur": (
        {"randaugment", "spectral_filter"},
        "training on RandAugment views, whose Sharpness operation can blur mildly",
    ),
    "weather": (
        {"randaugment", "trivialaugment", "augmix"},
        "training with RandAugment views or the `jsd` objective (AugMix)",
    ),
    "brightness, contrast and colour": (
        {"randaugment", "trivialaugment"},
        "training with RandAugment views, which vary all three",
    ),
    "compression and distortion": (
        {"randaugment", "trivialaugment", "augmix"},
        "training with RandAugment views or the `jsd` objective (AugMix)",
    ),
}
LARGE_DROP = 0.10
OVERCONFIDENT = 0.05
WIDE = 0.02
RECALL_GAP = 0.20


def advice(
    record: RunRecord,
    subjects: list[str],
    classes: tuple[Guessing, ClassTable | None],
    found: tuple[list[Reliability], list[Support]],
) -> list[str]:
    """Return suggestions, as sentences, for some of the models."""
    guess, table = classes
    reliabilities, supports = found
    warnings = {name: guess_warning(record, name, guess) for name in subjects}
    sentences = [warning for warning in warnings.values() if warning]
    names = [name for name, warning in warnings.items() if not warning]
    sentences += drops(record, names)
    sentences += overconfidence(names, reliabilities)
    for name in names:
        sentences += weak_classes(name, table)
    sentences += wide_intervals(supports)
    sentences += missing_cells(record)
    if len(record.assessment.models) == 1:
        sentences.append(
            "Assess a second model on the same images and report on both: paired differences have "
            "narrower intervals than two accuracies."
        )
    return sentences


def guess_warning(record: RunRecord, name: str, guess: Guessing) -> str:
    """Return a warning if clean accuracy is no better than guessing, else nothing."""
    match no_better_than(record.assessment.models[name].clean, guess):
        case "chance":
            return (
                f"{name}: clean accuracy is not clearly above chance. Check the order of the "
                "classes first (`--classes FILE`), then the normalisation (`--mean`, `--std`) and "
                "the input size."
            )
        case "majority":
            return (
                f"{name}: clean accuracy does not exceed the share of the largest class. Check "
                "whether the model predicts other classes at all, and the order of the classes."
            )
        case None:
            return ""


def drops(record: RunRecord, names: list[str]) -> Iterator[str]:
    """Yield the family of corruptions that costs each model most, with what may help."""
    severity = shown_severity(record.assessment)
    losses: dict[str, dict[str, float]] = {}  # by family and model
    for name in names:
        means = family_losses(record.assessment.models[name])
        family = max(means, key=means.__getitem__, default=None)
        if family is not None and means[family] >= LARGE_DROP:
            losses.setdefault(family, {})[name] = means[family]
    cells = next(iter(record.assessment.models.values())).cells
    for family, found in losses.items():
        there = dict.fromkeys(c.corruption for c in cells if c.corruption in FAMILIES[family])
        what = family if len(there) > 1 else next(iter(there)).replace("_", " ")
        each = joined(f"{100 * loss:.1f}" for loss in found.values())
        finding = (
            f"{joined(found)} lose{'s' * (len(found) == 1)} most under {what}: {each} points on "
            f"average at severity {severity}."
        )
        kinds, trial = TRIALS[family]
        used = sorted(kinds & kinds_of(record.recipe.get("views", {}).get("noise")))
        noisy = [name for name in found if learns_noisy_views(record, name)]
        if used and noisy:
            yield (
                f"{finding} The training noise of {joined(noisy)} already includes "
                f"{joined(used)}: try stronger noise or a longer training."
            )
        else:
            yield f"{finding} Try {trial}. It may not help on these images: assess the result."


def learns_noisy_views(record: RunRecord, name: str) -> bool:
    """Return whether a model was trained on the noisy views of its recipe."""
    options = record.stage(name)
    if "interpolate" in options:
        return learns_noisy_views(record, str(options["interpolate"]))
    kind = options.get("objective", {}).get("kind", "supervised")
    return options.get("views") == "noisy" or kind != "supervised"


def kinds_of(noise: Any) -> set[str]:
    """Return the kinds of noise in a chain of a recipe, those of `one_of` included."""
    found = set[str]()
    for link in noise if isinstance(noise, list) else []:
        if isinstance(link, dict):
            found |= {str(link.get("kind"))} | kinds_of(link.get("one_of"))
    return found


def family_losses(model: ModelAssessment) -> dict[str, float]:
    """Return the mean loss of accuracy at the highest severity, by family of corruptions."""
    severity = max((cell.severity for cell in model.cells), default=None)
    means = {}
    for family, names in FAMILIES.items():
        cells = [c for c in model.cells if c.corruption in names and c.severity == severity]
        if cells:
            means[family] = model.clean.accuracy - sum(c.accuracy for c in cells) / len(cells)
    return means


def overconfidence(names: list[str], reliabilities: list[Reliability]) -> Iterator[str]:
    """Yield a note on the images where confidence exceeds accuracy."""
    surplus: dict[str, dict[str, float]] = {}  # by images and model
    for found in reliabilities:
        above = found.confidence - found.accuracy
        if found.model in names and above > OVERCONFIDENT:
            surplus.setdefault(found.images, {})[found.model] = above
    for images, by_model in surplus.items():
        where = "clean images" if images == "clean" else f"corruptions of {images}"
        each = joined(f"{100 * above:.1f}" for above in by_model.values())
        yield (
            f"On {where}, the mean confidence of {joined(by_model)} is {each} points above the "
            "accuracy: do not read it as a probability there."
        )
    if surplus:
        yield (
            "Temperature scaling on held-out images like those in use is the usual first attempt "
            "against confidence that is too high."
        )


def joined(parts: Iterable[str]) -> str:
    """Join parts as in "a, b and c"."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def weak_classes(name: str, table: ClassTable | None) -> Iterator[str]:
    """Yield the class with the lowest recall where it is far below the mean of the classes."""
    if table is None:
        return
    known = [(row.clean[name], row) for row in table.rows]
    recalls = [(recall, row) for recall, row in known if recall is not None]
    if not recalls:
        return
    recall, lowest = min(recalls, key=lambda each: each[0])
    balanced = next(each.clean for each in table.balanced if each.model == name)
    highest = share_interval(round(recall * lowest.num_images), lowest.num_images).high
    if balanced - recall > RECALL_GAP and highest < balanced:
        yield (
            f"{name}'s recall of {lowest.name} on clean images is {100 * recall:.1f} %, against "
            f"{100 * balanced:.1f} % over all classes ({lowest.num_images} images): look at its "
            "mistakes, and check the labels."
        )


def wide_intervals(supports: list[Support]) -> Iterator[str]:
    """Yield the number of images that a narrower interval needs."""
    widest = max(supports, key=lambda each: each.half_width, default=None)
    if widest is not None and widest.half_width > WIDE:
        yield (
            f"Assess more images if you have them: with {widest.num_images:,}, accuracy "
            f"({widest.title}) is known to ±{100 * widest.half_width:.1f} points; about "
            f"{widest.images_for_a_point:,} images give ±1 point."
        )


def missing_cells(record: RunRecord) -> Iterator[str]:
    """Yield what C15 needs, for a comparison with published values."""
    for row in summary_rows(record.assessment):
        if row.name == "c15" and row.coverage:
            yield f"Published results use C15, which was {row.coverage}."
