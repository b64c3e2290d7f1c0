"""Example pictures of disagreements and mistakes: clean next to corrupted."""

import io
from pathlib import Path

import torch

from ruggedize.assess.example_choice import FILE_NAME, chosen_examples
from ruggedize.assess.saving import AssessmentResult
from ruggedize.core import files
from ruggedize.corruptions import Suite
from ruggedize.data import ImageSet

LARGEST_SIDE = 160  # pixels; larger pictures are shrunk


def save_examples(
    result: AssessmentResult, image_set: ImageSet, suite: Suite, folder: Path
) -> list[Path]:
    """Write `CORRUPTION-SEVERITY-INDEX.png` for images on which first and last model disagree.

    For a single model, they show images that it classifies correctly only when they are clean. Each
    shows the clean image on the left and the corrupted one on the right. None are written for an
    unpaired suite. Pictures of an earlier assessment are removed from the folder. A report shows
    only the pictures listed in `AssessmentFacts.examples`, if it is set.
    """
    remove_examples(folder)
    if suite.unpaired is not None:
        return []
    predictions = list(result.predictions.values())
    rows = predictions[0].index
    positions = {int(index): place for place, index in enumerate(image_set.index.tolist())}
    paths = []
    for example in chosen_examples(predictions):
        index = int(rows[example.row])
        place = positions[index]
        corrupted = suite.images(example.corruption, example.severity, place, place + 1)
        path = folder / f"{example.corruption}-{example.severity}-{index}.png"
        files.write_atomically(path, side_by_side(image_set.images[place], corrupted[0]))
        paths.append(path)
    return paths


def remove_examples(folder: Path) -> None:
    """Remove the pictures of an earlier assessment; files with other names are kept."""
    for path in folder.glob("*.png"):
        if FILE_NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink()


def side_by_side(clean: torch.Tensor, corrupted: torch.Tensor) -> bytes:
    """Encode two uint8 images `[3, h, w]` side by side as PNG."""
    from PIL import Image

    pixels = torch.cat([clean, corrupted], dim=2).permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(pixels)
    if clean.shape[1] > LARGEST_SIDE or clean.shape[2] > LARGEST_SIDE:
        picture.thumbnail((2 * LARGEST_SIDE, LARGEST_SIDE))
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True)
    return written.getvalue()
