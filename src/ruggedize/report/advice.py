"""What to try next: rules over the measured figures, without a promise. No torch."""

from collections.abc import Iterator

from ruggedize.assess import Interval
from ruggedize.report.calibration import Reliability
from ruggedize.report.classes import ClassTable, Guessing
from ruggedize.report.compare import shown_severity, summary_rows
from ruggedize.report.record import RunRecord
from ruggedize.report.support import Support

FAMILIES = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    "weather": ("snow", "frost", "fog", "spatter"),
    "brightness, contrast and colour": ("brightness", "contrast", "saturate"),
    "compression and distortion": ("jpeg_compression", "pixelate", "elastic_transform"),
}
TRIALS = {
    "noise": "training on additive noise (`additive_noise` in a recipe's `views.noise`)",
    "blur": "training on RandAugment views, whose Sharpness operation can blur mildly",
    "weather": "training with RandAugment views or the `jsd` objective (AugMix)",
    "brightness, contrast and colour": "training with RandAugment views, which vary all three",
    "compression and distortion": "training with RandAugment views or the `jsd` objective (AugMix)",
}
LARGE_DROP = 0.10
OVERCONFIDENT = 0.05
WIDE = 0.02
RECALL_GAP = 0.20


def advice(
    record: RunRecord,
    clean: Interval,
    guess: Guessing,
    table: ClassTable | None,
    found: tuple[list[Reliability], list[Support]],
) -> list[str]:
    """List what the figures of the last model suggest, the most urgent first."""
    name = list(record.assessment.models)[-1]
    reliabilities, supports = found
    sentences = [*near_chance(name, clean, guess)]
    if not sentences:
        sentences += drops(record, name)
        sentences += overconfidence(name, reliabilities)
        sentences += weak_classes(name, table)
    sentences += wide_intervals(supports)
    sentences += missing_cells(record)
    if len(record.assessment.models) == 1:
        sentences.append(
            "Assess a second model on the same images and report on both: paired differences have "
            "narrower intervals than two accuracies."
        )
    return sentences


def near_chance(name: str, clean: Interval, guess: Guessing) -> Iterator[str]:
    """Yield a warning where clean accuracy is no better than guessing."""
    if clean.low <= guess.chance:
        yield (
            f"{name}: clean accuracy is near chance level. Check the order of the classes first "
            "(`--classes FILE`), then the normalisation (`--mean`, `--std`) and the input size."
        )
    elif clean.low <= guess.majority_share and guess.is_unequal:
        yield (
            f"{name}: clean accuracy does not exceed the share of the largest class. Check whether "
            "the model predicts other classes at all, and the order of the classes."
        )


def drops(record: RunRecord, name: str) -> Iterator[str]:
    """Yield the family of corruptions that costs most accuracy, with what may help."""
    model, severity = record.assessment.models[name], shown_severity(record.assessment)
    means = {}
    for family, names in FAMILIES.items():
        cells = [c for c in model.cells if c.corruption in names and c.severity == severity]
        if cells:
            losses = [model.clean.accuracy - cell.accuracy for cell in cells]
            means[family] = sum(losses) / len(losses)
    family = max(means, key=means.__getitem__, default=None)
    if family is None or means[family] < LARGE_DROP:
        return
    there = dict.fromkeys(c.corruption for c in model.cells if c.corruption in FAMILIES[family])
    what = family if len(there) > 1 else next(iter(there)).replace("_", " ")
    yield (
        f"{name} loses most under {what}: {100 * means[family]:.1f} points on average at "
        f"severity {severity}. Try {TRIALS[family]}. Then assess again: it may not help on these "
        "images."
    )


def overconfidence(name: str, reliabilities: list[Reliability]) -> Iterator[str]:
    """Yield a note where confidence exceeds accuracy."""
    for found in reliabilities:
        surplus = found.confidence - found.accuracy
        if found.model == name and surplus > OVERCONFIDENT:
            where = "clean images" if found.images == "clean" else f"corruptions of {found.images}"
            yield (
                f"On {where}, {name}'s mean confidence is {100 * surplus:.1f} points above its "
                "accuracy: do not read its confidence as a probability there. Temperature scaling "
                "on held-out images like those in use is the usual first attempt."
            )
            return


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
    if balanced - recall > RECALL_GAP:
        yield (
            f"{name}'s recall of {lowest.name} on clean images is {100 * recall:.1f} %, against "
            f"{100 * balanced:.1f} % over all classes ({lowest.num_images} images): look at its "
            "mistakes, and check the labels."
        )


def wide_intervals(supports: list[Support]) -> Iterator[str]:
    """Yield how many images a narrower interval needs."""
    widest = max(supports, key=lambda each: each.half_width, default=None)
    if widest is not None and widest.half_width > WIDE:
        yield (
            f"Assess more images if there are any: with {widest.num_images:,}, accuracy "
            f"({widest.title}) is known to ±{100 * widest.half_width:.1f} points; about "
            f"{widest.images_for_a_point:,} images give ±1 point."
        )


def missing_cells(record: RunRecord) -> Iterator[str]:
    """Yield what C15 needs, for a comparison with published values."""
    for row in summary_rows(record.assessment):
        if row.name == "c15" and row.coverage:
            yield f"For a comparison with published results, C15 is missing: {row.coverage}."
