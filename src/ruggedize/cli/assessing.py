"""The commands that use trained models: assess them, report on them, predict with them."""

import csv
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
from ruggedize.core.places import is_there

if TYPE_CHECKING:
    from ruggedize.data import Stored
    from ruggedize.models import Classifier

log = logging.getLogger(__name__)
AT_ONCE = 256  # images decoded and classified together
MAX_MEGAPIXELS = 120.0


def assess(
    models: Models,
    /,
    *,
    data: Name = None,
    data_root: Folder = None,
    skip_bad_images: Switch = False,
    suite: str = "generated",
    corruptions: Names = None,
    corruption_options: Options = (),
    severities: str = "1-5",
    num_images: Whole = None,
    seed: Whole = None,
    out: Path,
) -> None:
    """Assess models on corruptions of the data's test images.

    Args:
        models: Run folders (their teacher and student) or model.safetensors files.
        data: Name or folder of the data. Default: that of the first run folder.
        data_root: Folder that holds the data set.
        skip_bad_images: Leave out files of a folder that cannot be decoded, and list them.
        suite: Where the corrupted images come from: "generated" makes them from the test images;
            else a folder laid out as CIFAR-10-C or ImageNet-C, here or where the data lie.
        corruptions: Which ones, divided by commas: fog,snow. Default: all of the suite.
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
    where = (
        DataOptions(name=data, root=data_root, skip_bad_images=skip_bad_images) if data else None
    )
    options = AssessOptions(
        suite=suite,
        severities=parsed_severities(severities),
        corruptions=None if corruptions is None else parsed_names(corruptions),
        num_images=num_images,
    )
    own = {"seed": seed, "corruption_options": parsed_options(corruption_options)}
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
    max_megapixels: float = MAX_MEGAPIXELS,
    as_csv: AsCsv = False,
) -> None:
    """Classify images with a trained model, on the GPU if there is one.

    The exit status is 1 if a file could not be classified; the others are.

    Args:
        model: A run folder (its student is used), the folder of a training or a card, the
            model.safetensors file of any stage, or hf:ORG/NAME in the local Hub cache.
        images: Image files, or folders of them.
        skip_bad_images: Exit with 0 although files could not be classified; they are listed.
        max_megapixels: Larger images are not decoded.
        as_csv: Print comma-separated values instead of a table.
    """
    from ruggedize.data import Stored
    from ruggedize.models import load_model, model_file
    from ruggedize.train import default_accelerator

    file = model_file(model)
    classifier = load_model(file)
    paths, faults = found_images(images)
    classifier.to(default_accelerator().device)
    stored = Stored(classifier.image_size, classifier.fit, max_megapixels)
    rows = []
    for start in range(0, len(paths), AT_ONCE):
        more, bad = classified(paths[start : start + AT_ONCE], classifier, stored)
        rows += more
        faults += bad
    columns = ["image", "class", "confidence"]
    if as_csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows([columns, *rows])
    elif rows:
        console.print(table(str(file), columns, rows, num_texts=2))
    if faults:
        listed = "".join(f"\n  {one_line(fault)}" for fault in faults)
        log.warning("%d of the images cannot be classified:%s", len(faults), listed)
    if faults and not skip_bad_images:
        sys.exit(1)


def one_line(fault: str) -> str:
    """Return what is wrong with a file on one line, with the option of this command."""
    return fault.replace("\n", " ").replace("set data.max_megapixels =", "use --max-megapixels")


def found_images(places: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the image files at places, and what is wrong with places and files.

    Raises:
        UserError: there is no image at all.
    """
    from ruggedize.data import list_images

    paths: list[Path] = []
    faults: list[str] = []
    for place in places:
        try:
            paths += list_images(place)
        except UserError as error:
            faults.append(str(error))
    if not paths:
        raise UserError(faults[0] if faults else "there is no image to classify;\ngive some")
    return paths, faults


def classified(
    paths: list[Path], classifier: "Classifier", stored: "Stored"
) -> tuple[list[list[str]], list[str]]:
    """Return the rows of the images that can be decoded, and what is wrong with the others."""
    from ruggedize.data import FileList, decode_all, shown

    hidden = {path for path in paths if is_there(path) and not os.access(path, os.R_OK)}
    readable = [path for path in paths if path not in hidden]
    faults = [f"{shown(path)} cannot be read; make it readable" for path in sorted(hidden)]
    if not readable:
        return [], faults
    decoded, bad = decode_all(FileList(map(os.fsencode, readable)), stored)
    found = classifier.predict(decoded)
    rows = [
        [shown(readable[place]), classifier.classes[label], f"{found.confidences[place]:.4f}"]
        for place, label in enumerate(found.labels)
        if place not in bad
    ]
    return rows, faults + [str(bad[place]) for place in sorted(bad)]
