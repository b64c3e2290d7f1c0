"""The commands that use trained models: assess, report and predict."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ruggedize.cli.args import (
    AsCsv,
    File,
    Folder,
    Models,
    Name,
    Names,
    OneModel,
    Options,
    Pictures,
    Preset,
    Reported,
    Switch,
    Whole,
)
from ruggedize.cli.display import Bars, console, print_csv, table
from ruggedize.cli.foreign_models import UNSPECIFIED, Foreign
from ruggedize.cli.studying import with_runs_of_studies
from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.places import is_there

if TYPE_CHECKING:
    from ruggedize.assess import AssessOptions
    from ruggedize.data import DataOptions, Stored
    from ruggedize.models import Classifier

log = logging.getLogger(__name__)
LARGEST_SIZE = 1024  # pixels, as in a recipe
AT_ONCE = 256  # images decoded and classified together
MAX_MEGAPIXELS = 120.0


def assess(
    models: Models,
    /,
    *,
    data: Name = None,
    data_root: Folder = None,
    image_size: Whole = None,
    skip_bad_images: Switch = False,
    suite: str = "generated",
    corruptions: Names = None,
    preset: Preset = None,
    corruption_options: Options = (),
    severities: str = "1-5",
    num_images: Whole = None,
    seed: Whole = None,
    foreign: Foreign = UNSPECIFIED,
    out: Path,
) -> None:
    """Assess models on corrupted test images, and save the results as JSON.

    After an interruption, the same command continues.

    Args:
        models: A run folder (its teacher and student), model.safetensors, timm/NAME,
            timm/NAME@FILE.safetensors, hf:ORG/NAME, FILE.onnx, or package.module:function. The last
            one runs your code: the function must return an nn.Module, or a function from uint8
            images to scores.
        data: Name of a data set, or a folder of images. Default: that of the first run folder.
        data_root: Folder that contains the data set.
        image_size: Size in pixels at which images are stored and corrupted. Default: that of the
            run, or 224 for a folder.
        skip_bad_images: Skip files of a folder that cannot be decoded, and list them.
        suite: Source of the corrupted images: "generated" makes them from the test images;
            otherwise a folder laid out like CIFAR-10-C or ImageNet-C, given as a path or by its
            name in the data folder.
        corruptions: Corruptions to assess, separated by commas: fog,snow. Default: all of the
            suite.
        preset: Which constants to use, as for `corrupt`. Default: the run's, else auto.
        corruption_options: Set an option of a corruption. Default: the run's, else the first value.
        severities: Severities from 1 to 5: "5", "1-5" or "1,3,5".
        num_images: Number of test images to use, evenly spaced over the set. Default: all.
        seed: Seed of generated corruptions. Default: that of the first run folder, else 0.
        foreign: How models that ruggedize did not train take images and return scores.
        out: JSON file to write; predictions and example pictures are written next to it.
    """
    from ruggedize.assess_models import assess_files
    from ruggedize.corruptions import parsed_options
    from ruggedize.report import load_summary_rows

    where = place_of_data(data, data_root, image_size, skip_bad_images)
    options = cells_to_assess(suite, severities, corruptions, num_images)
    own = {"seed": seed, "preset": preset, "corruption_options": parsed_options(corruption_options)}
    with Bars(shown=is_first()) as bars:
        read = foreign.read()
        wrote = assess_files(models, out, where, options, foreign=read, **own, progress=bars)
    if wrote:
        columns, rows = load_summary_rows(out)
        console.print(table("assessment", columns, rows))
        console.print(f"assessment: {out}", soft_wrap=True)


def cells_to_assess(
    suite: str, severities: str, corruptions: str | None, num_images: int | None
) -> "AssessOptions":
    """Parse the arguments that select cells and images."""
    from ruggedize.assess import AssessOptions, parsed_severities
    from ruggedize.corruptions import parsed_names

    if num_images is not None and num_images < 1:
        raise UserError(f"--num-images must be at least 1, got {num_images};\nremove it for all")
    return AssessOptions(
        suite=suite,
        severities=parsed_severities(severities),
        corruptions=None if corruptions is None else parsed_names(corruptions),
        num_images=num_images,
    )


def is_first() -> bool:
    """Return whether this is the first of several processes."""
    return os.environ.get("RANK", "0") == "0"


def place_of_data(
    name: str | None, root: Path | None, image_size: int | None, skip_bad_images: bool
) -> "DataOptions | None":
    """Return the options of the data; None if a run folder determines them."""
    from ruggedize.data import DataOptions

    if name:
        if image_size is not None and not 4 <= image_size <= LARGEST_SIZE:
            raise UserError(
                f"--image-size must be in 4..{LARGEST_SIZE}, got {image_size};\n"
                "remove it for 224 pixels"
            )
        return DataOptions(
            name=name, root=root, image_size=image_size, skip_bad_images=skip_bad_images
        )
    if root:
        raise UserError("--data-root needs --data;\nadd --data NAME")
    if image_size is not None:
        raise UserError(
            "--image-size needs --data;\nadd it, or remove --image-size to use the run's"
        )
    if skip_bad_images:
        raise UserError("--skip-bad-images needs --data;\nadd it, or remove --skip-bad-images")
    return None


def report(
    runs: Reported,
    /,
    *,
    out: File = None,
    format: Literal["html", "md", "csv", "latex"] = "html",
    baseline: Name = None,
    mce_baseline: Name = None,
) -> None:
    """Write a report on assessments: one self-contained HTML page, or a table for a paper.

    Args:
        runs: Run folders, folders of studies (all of their runs), or .json assessments with their
            predictions folder next to them. Assessments of the same images are compared.
        out: File to write. Default: for html, a page next to the first input; otherwise the
            terminal.
        format: html is a web page; md, csv and latex are tables.
        baseline: Model that differences refer to: MODEL, RUN/MODEL or an assessment. Default: the
            first.
        mce_baseline: Model that the mean corruption error (mCE) is normalised by. Default: that of
            --baseline; without either, no mCE is reported.
    """
    from ruggedize.report import default_page, paper_table, reject_other_ending, write_report

    chosen = {"baseline": baseline, "mce_baseline": mce_baseline}
    reject_other_ending(out, format)
    places = with_runs_of_studies(runs)
    if format == "html":
        page = out or default_page(runs)
        write_report(places, page, **chosen)
        console.print(f"report: {page}", soft_wrap=True)
        return
    if out:
        files.reject_unwritable_file(out)
    text = paper_table(places, format, **chosen)
    if out is None:
        sys.stdout.write(text)
        return
    files.write_atomically(out, text.encode("utf-8"))
    console.print(f"table: {out}", soft_wrap=True)


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

    If some files cannot be classified, the others still are, and the exit status is 1.

    Args:
        model: A run folder (the last model of its assessment is used, where those without a teacher
            come first), the folder of a training or a card, the model.safetensors file of any
            stage, or hf:ORG/NAME in the local Hub cache.
        images: Image files, or folders of image files.
        skip_bad_images: Exit with status 0 even if some files cannot be classified; they are
            listed.
        max_megapixels: Reject larger images before they are decoded.
        as_csv: Print comma-separated values instead of a table.
    """
    from ruggedize.data import Stored
    from ruggedize.models import load_model, model_file
    from ruggedize.train import default_accelerator

    if not 0 < max_megapixels <= 178:  # Pillow's limit, as in recipes
        raise UserError("--max-megapixels must be above 0 and at most 178;\nomit it for 120")
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
        print_csv(columns, rows)
    elif rows:
        console.print(table(str(file), columns, rows, num_texts=2))
    if faults:
        listed = "".join(f"\n  {one_line(fault)}" for fault in faults)
        noun = "image" if len(faults) == 1 else "images"
        log.warning("%d %s cannot be classified:%s", len(faults), noun, listed)
    if faults and not skip_bad_images:
        sys.exit(1)


def one_line(fault: str) -> str:
    """Return an error on one line, with the option of this command instead of the recipe's."""
    return fault.replace("\n", " ").replace("set data.max_megapixels =", "use --max-megapixels")


def found_images(places: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the image files in these places, and the errors of the others.

    Raises:
        UserError: there are no image files at all.
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
        raise UserError(
            faults[0] if faults else "there are no images to classify;\ngive image files or folders"
        )
    return paths, faults


def is_readable(path: Path) -> bool:
    """Return whether a file can be opened; `os.access` ignores capabilities."""
    try:
        os.close(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)))
    except OSError:
        return False
    return True


def classified(
    paths: list[Path], classifier: "Classifier", stored: "Stored"
) -> tuple[list[list[str]], list[str]]:
    """Classify images; return rows of those that can be decoded, and the errors of the others."""
    from ruggedize.data import FileList, decode_all, shown

    hidden = {path for path in paths if is_there(path) and not is_readable(path)}
    readable = [path for path in paths if path not in hidden]
    faults = [f"{shown(path)} cannot be read; change its permissions" for path in sorted(hidden)]
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
