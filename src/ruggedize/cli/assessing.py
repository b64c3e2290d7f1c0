"""The commands that use trained models: assess them, report on them, predict with them."""

import csv
import os
import sys
from pathlib import Path
from typing import Literal

from ruggedize.cli.args import (
    AsCsv,
    Folder,
    Models,
    Name,
    Names,
    OneModel,
    Options,
    Pictures,
    Runs,
    Switch,
    Whole,
)
from ruggedize.cli.display import Bars, console, table
from ruggedize.core.errors import UserError

AT_ONCE = 256  # images decoded and classified together


def assess(
    models: Models,
    /,
    *,
    data: Name = None,
    data_root: Folder = None,
    skip_bad_images: Switch = False,
    suite: str = "generated",
    corruptions: Names = None,
    preset: Literal["auto", "cifar", "imagenet", "scaled"] | None = None,
    corruption_options: Options = (),
    severities: str = "1-5",
    num_images: Whole = None,
    seed: Whole = None,
    out: Path,
) -> None:
    """Assess models on corruptions of the data's test images.

    Args:
        models: Run folders (their teacher and student) or model.safetensors files.
        data: Name or folder of the data. Default: the first run's.
        data_root: Folder that holds the data set.
        skip_bad_images: Leave out files of a folder that cannot be decoded, and list them.
        suite: Where the corrupted images come from: "generated" makes them from the test images;
            else a folder laid out as CIFAR-10-C or ImageNet-C, here or where the data lie.
        corruptions: Which ones, divided by commas: fog,snow. Default: all of the suite.
        preset: Which constants to use, as for `corrupt`. Default: the run's, else auto.
        corruption_options: Set an option of a corruption. Default: the run's, else the first value.
        severities: Severities from 1 to 5: "5", "1-5" or "1,3,5".
        num_images: Assess only this many test images.
        seed: Fixes the random draws of generated corruptions. Default: that of the first run
            folder, else 0.
        out: The assessment, a JSON file; predictions are written beside it.
    """
    from ruggedize.assess import AssessOptions, parsed_severities
    from ruggedize.assess_models import assess_files
    from ruggedize.corruptions import parsed_names, parsed_options
    from ruggedize.data import DataOptions
    from ruggedize.report import load_summary_rows

    if data_root and not data:
        raise UserError("--data-root needs --data NAME: which data set lies there?")
    if skip_bad_images and not data:
        raise UserError("--skip-bad-images needs --data DIR; a run says itself what it leaves out")
    if num_images is not None and num_images < 1:
        raise UserError(f"--num-images must be at least 1, got {num_images}; leave it out for all")
    place = {"root": data_root, "skip_bad_images": skip_bad_images}
    where = DataOptions(name=data, **place) if data else None
    options = AssessOptions(
        suite=suite,
        severities=parsed_severities(severities),
        corruptions=None if corruptions is None else parsed_names(corruptions),
        num_images=num_images,
    )
    own = {"seed": seed, "preset": preset, "corruption_options": parsed_options(corruption_options)}
    with Bars() as bars:
        assess_files(models, out, where, options, **own, progress=bars)
    columns, rows = load_summary_rows(out)
    console.print(table("assessment", columns, rows))
    console.print(f"assessment: {out}", soft_wrap=True)


def report(runs: Runs, /, *, out: Path) -> None:
    """Write one self-contained HTML page about one or several runs.

    Args:
        runs: Run folders that hold an assessment.json.
        out: The page.
    """
    from ruggedize.report import write_report

    write_report(list(runs), out)
    console.print(f"report: {out}", soft_wrap=True)


def predict(
    model: OneModel,
    images: Pictures,
    /,
    *,
    skip_bad_images: Switch = False,
    as_csv: AsCsv = False,
) -> None:
    """Classify images with a trained model, on the GPU if there is one.

    Args:
        model: A run folder (its student is used) or the model.safetensors file of any stage.
        images: Image files, or folders of them.
        skip_bad_images: Leave out files that cannot be decoded, and list them.
        as_csv: Print comma-separated values instead of a table.
    """
    from ruggedize.data import FileList, Stored, decode_all, list_images, reject_or_skip, shown
    from ruggedize.models import load_model
    from ruggedize.train import default_accelerator

    file = model / "student" / "model.safetensors" if model.is_dir() else model
    classifier = load_model(file)
    paths = [path for place in images for path in list_images(place)]
    if not paths:
        raise UserError("there is no image to classify; give image files or folders of them")
    classifier.to(default_accelerator().device)
    stored = Stored(classifier.image_size, classifier.fit)
    rows, bad = [], []
    for start in range(0, len(paths), AT_ONCE):
        some = paths[start : start + AT_ONCE]
        decoded, faults = decode_all(FileList(map(os.fsencode, some)), stored)
        bad += [some[number] for number in sorted(faults)]
        found = classifier.predict(decoded)
        for place, label in enumerate(found.labels):
            if place not in faults:
                confidence = f"{found.confidences[place]:.4f}"
                rows.append([shown(some[place]), classifier.classes[label], confidence])
    reject_or_skip(bad, skip_bad_images)
    columns = ["image", "class", "confidence"]
    if as_csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows([columns, *rows])
    else:
        console.print(table(str(file), columns, rows, num_texts=2))
