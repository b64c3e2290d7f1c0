"""The commands `corrupt` and `fetch`."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ruggedize.cli.args import DataName, File, Folder, Names, Options, Switch, Whole
from ruggedize.cli.display import Bars, console
from ruggedize.core import files
from ruggedize.core.errors import UserError

if TYPE_CHECKING:
    from ruggedize.corruptions import Suite
    from ruggedize.data import ImageSet


def corrupt(
    *,
    data: str,
    out: Folder = None,
    data_root: Folder = None,
    image_size: Whole = None,
    skip_bad_images: Switch = False,
    corruptions: Names = None,
    seed: int = 0,
    preset: Literal["auto", "cifar", "imagenet", "scaled"] = "auto",
    corruption_options: Options = (),
    sheet: File = None,
    image: Whole = None,
) -> None:
    """Write the corrupted test images of a data set, in the layout of CIFAR-10-C.

    CORRUPTION.npy is uint8 [5 n, height, width, 3], the n images of severity 1 first; labels.npy
    has the labels. After an interruption, the same command resumes.

    Args:
        data: Name of a data set, or a folder of images.
        out: Folder for the files and their manifest.json.
        data_root: Folder that contains the data set.
        image_size: Side in pixels to which images of a folder are resized.
        skip_bad_images: Skip files of a folder that cannot be decoded, and list them.
        corruptions: Corruptions to write, separated by commas: fog,snow. Default: all.
        seed: Seed of the random values.
        preset: Which constants to use; auto selects them by image size; scaled uses those for 32
            pixels, with lengths scaled to the images.
        corruption_options: Set an option of a corruption. Default: the first value.
        sheet: Draw one image under these corruptions at every severity, to this PNG file.
        image: Index of the test image for --sheet. Default: 0, the first.
    """
    from ruggedize.corruptions import (
        export_suite,
        further_corruptions,
        generated_suite,
        parsed_names,
        parsed_options,
        reject_idle_options,
    )
    from ruggedize.data import load_clean_images

    check_arguments(seed, out, sheet, image)
    chosen = None if corruptions is None else parsed_names(corruptions)
    parsed = parsed_options(corruption_options)
    reject_idle_options(parsed, chosen)
    options = {"image_size": image_size, "skip_bad_images": skip_bad_images}
    test = load_clean_images(data, data_root, **options)
    further = further_corruptions(chosen)
    suite = generated_suite(test.images, seed=seed, preset=preset, options=parsed, extra=further)
    if sheet is not None:
        write_sheet(suite, test, image or 0, chosen, sheet)
        console.print(f"sheet: {sheet}", soft_wrap=True)
    if out is not None:
        with Bars() as bars:
            export_suite(suite, test, out, data=data, corruptions=chosen, progress=bars)
        console.print(f"suite: {out}", soft_wrap=True)


def check_arguments(seed: int, out: Path | None, sheet: Path | None, image: int | None) -> None:
    """Raise a UserError if arguments are invalid, or the output cannot be written."""
    if seed < 0:
        raise UserError(f"--seed must be 0 or more, got {seed}")
    if image is not None and sheet is None:
        raise UserError("--image selects the image for --sheet;\nadd --sheet FILE")
    if out is None and sheet is None:
        raise UserError("there is nothing to write;\ngive --out DIR, --sheet FILE, or both")
    if out is not None:
        files.reject_unwritable_folder(out)
    if sheet is not None:
        if sheet.suffix.lower() != ".png":
            raise UserError(f"--sheet must be a PNG file, got {sheet};\nname it {sheet.stem}.png")
        files.reject_unwritable_file(sheet)


def write_sheet(
    suite: "Suite", test: "ImageSet", position: int, chosen: tuple[str, ...] | None, path: Path
) -> None:
    """Draw one test image under the chosen corruptions, at every severity."""
    from ruggedize.corruptions import corruption_sheet

    if not 0 <= position < len(test):
        raise UserError(f"there is no image {position};\ngive --image 0..{len(test) - 1}")
    picture = io.BytesIO()
    corruption_sheet(suite, test.images[position], position, chosen).save(picture, "PNG")
    files.write_atomically(path, picture.getvalue())


def fetch(name: DataName, /, *, data_root: Folder = None) -> None:
    """Download a data set or a suite and verify its hash.

    Args:
        name: The data set (cifar10, cifar100), the suite (cifar10-c, cifar100-c), or frost: six
            photographs for that corruption, saved to RUGGEDIZE_FROST or else to a folder in the
            user's cache.
        data_root: Folder for the data set or suite. Default: RUGGEDIZE_DATA, else a folder in the
            user's cache.
    """
    from ruggedize.corruptions import fetch_frost
    from ruggedize.data import fetch as fetch_data

    if name == "frost" and data_root:
        raise UserError(
            "--data-root does not apply to frost;\nset its folder with RUGGEDIZE_FROST=DIR"
        )
    with Bars() as bars:
        path = fetch_frost() if name == "frost" else fetch_data(name, data_root, progress=bars)
    console.print(f"data: {path}", soft_wrap=True)
