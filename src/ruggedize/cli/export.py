"""The commands that publish a model: export, card and push."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ruggedize.cli.args import Name, OneModel, Switch
from ruggedize.cli.display import Bars, console
from ruggedize.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

OneRun = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
CardFolder = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
HubName = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ORG/NAME")]
NUM_IMAGES = 64  # of the run, for checking an ONNX file


def export(model: OneModel, /, *, format: Literal["onnx", "state-dict"], out: Path) -> None:
    """Export a model for use without ruggedize: as an ONNX file, or as plain weights.

    An ONNX file takes uint8 images; normalisation is included. Its outputs under onnxruntime are
    compared with the model's, on test images of its run or else on generated images, and the file
    is kept only if they agree.

    Args:
        model: A run folder (the last model of its assessment is used, where those without a teacher
            come first), a card's folder, the model.safetensors file of any stage, or hf:ORG/NAME in
            the local Hub cache.
        format: "onnx" (needs the extra [onnx]) or "state-dict": only the network's weights, as
            safetensors for plain PyTorch.
        out: File to write.
    """
    from ruggedize.core.files import reject_unwritable_file, sha256
    from ruggedize.models import (
        export_onnx,
        export_state_dict,
        load_model,
        model_file,
        serving_snippet,
    )

    suffix = ".onnx" if format == "onnx" else ".safetensors"
    if out.suffix != suffix:
        raise UserError(
            f"--format {format} writes a {suffix} file, got {out};\nname it {out.stem}{suffix}"
        )
    reject_unwritable_file(out)
    file = model_file(model)
    if out.exists() and out.samefile(file):
        raise UserError(f"{out} is the model itself;\nchoose another file with --out")
    classifier = load_model(file)
    if format == "state-dict":
        export_state_dict(classifier, out, sha256(file))
        console.print(f"weights: {out}", soft_wrap=True)
        return
    images, origin = images_to_check(file)
    found = export_onnx(classifier, out, images, sha256(file))
    console.print(
        f"checked on {found.num_images} {origin}: the largest difference is "
        f"{found.logits:.1e} in logits, {found.probabilities:.1e} in probabilities",
        soft_wrap=True,
    )
    console.print(f"ONNX file: {out}; to classify photo.jpg with it:\n", soft_wrap=True)
    snippet = serving_snippet(str(out), classifier.fit, classifier.crop_pct, classifier.test_filter)
    console.print(snippet, soft_wrap=True, highlight=False)


def images_to_check(file: Path) -> "tuple[Tensor | None, str]":
    """Return stored test images of the run that a model file belongs to, and a description.

    The images are None if the file is in no run folder, or the run's data cannot be loaded;
    generated images are used then.
    """
    from ruggedize.data import load_splits
    from ruggedize.recipe import load_recipe

    written = file.resolve().parent.parent / "recipe.toml"
    if not written.is_file():
        return None, "generated images (the model is not in a run folder)"
    try:
        data = load_recipe(written).data
        with Bars() as bars:
            test = load_splits(data, progress=bars).test
    except (UserError, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(";:")
        return None, f"generated images (no test images of the run: {reason})"
    return test.images[:NUM_IMAGES], f"test images of {data.name}"


def card(
    run: OneRun,
    /,
    *,
    out: Path,
    license: str = "not stated",
    data_license: str = "not stated",
    stage: Name = None,
) -> None:
    """Write a folder for the Hugging Face Hub: model, recipe, assessment, report, model card.

    Paths of this machine are removed from recipe, assessment and report. The report shows some of
    the test images: look at it before you publish it.

    Args:
        run: Folder of a finished run.
        out: New folder; its name becomes the model's name.
        license: Licence of the weights, preferably an identifier of the Hub, e.g. apache-2.0.
        data_license: Licence of the training data.
        stage: Stage whose model is published. Default: that of the assessment's last model.
    """
    from ruggedize.card import Licenses, write_card

    path = write_card(run, out, Licenses(license, data_license), stage=stage)
    console.print(f"model card: {path}", soft_wrap=True)
    missing = [
        option
        for option, value in (("--license", license), ("--data-license", data_license))
        if value == "not stated"
    ]
    if missing:
        console.print(f"not stated: {', '.join(missing)}", soft_wrap=True)


def push(
    folder: CardFolder,
    name: HubName,
    /,
    *,
    private: Switch = False,
    dry_run: Switch = False,
) -> None:
    """Upload the folder of a model card to the Hugging Face Hub.

    This needs the extra [hub] and a login (`hf auth login`). Only files that `ruggedize card` wrote
    are uploaded.

    Args:
        folder: Folder that `ruggedize card` wrote.
        name: Repository; it is created if it does not exist.
        private: If the repository is created, make it private.
        dry_run: Check the folder and list what would be uploaded, without network access.
    """
    from ruggedize.models import CARD_FILES, push_folder

    address = push_folder(folder, name, private=private, dry_run=dry_run)
    if not dry_run:
        console.print(f"model: {address}", soft_wrap=True)
        return
    visibility = "private" if private else "public"
    console.print(f"would upload to {address} ({visibility} if it is new):", soft_wrap=True)
    for file in CARD_FILES:
        console.print(f"  {file}: {(folder / file).stat().st_size:,} bytes", soft_wrap=True)
