"""Example code that runs an exported ONNX file without this project."""

import json

from ruggedize.kernels.centre_crop import TestFilter
from ruggedize.models.classifier import Fit

SNIPPET = """\
import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession({file})
facts = session.get_modelmeta().custom_metadata_map
classes, stored, side = (json.loads(facts[key]) for key in ("classes", "image_size", "input_size"))
image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
{squared}
{sized}
logits = session.run(["logits"], {{"images": np.asarray(image).transpose(2, 0, 1)[None]}})[0][0]
probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
print(classes[logits.argmax()], f"{{probabilities.max():.4f}}")
"""


SQUARED: dict[Fit, str] = {  # as `kernels.pictures.square`
    "crop": """\
edge = min(image.size)  # the middle square
left, top = ((whole - edge) // 2 for whole in image.size)
box = (left, top, left + edge, top + edge)
image = image.resize((stored, stored), Image.Resampling.BICUBIC, box, reducing_gap=2.0)""",
    "pad": """\
ratio = stored / max(image.size)
inner = [max(1, round(edge * ratio)) for edge in image.size]
small = image.resize(inner, Image.Resampling.BICUBIC, reducing_gap=2.0)
image = Image.new("RGB", (stored, stored), (128, 128, 128))
image.paste(small, tuple((stored - edge) // 2 for edge in inner))""",
    "squash": """\
image = image.resize((stored, stored), Image.Resampling.BICUBIC, reducing_gap=2.0)""",
}


def serving_snippet(
    file: str, fit: Fit = "crop", crop_pct: float = 1.0, test_filter: TestFilter = "tf"
) -> str:
    """Return Python code that classifies `photo.jpg` with an exported ONNX file.

    Args:
        file: the name of the ONNX file.
        fit: how the model's images are made square (`Classifier.fit`).
        crop_pct: share of the side that the test view keeps (`Classifier.crop_pct`).
        test_filter: how it is resized (`Classifier.test_filter`).
    """
    how = f"Image.Resampling.{'BICUBIC' if test_filter == 'bicubic' else 'BILINEAR'}"
    sized = f"image = image.resize((side, side), {how})"
    if crop_pct < 1:  # as `kernels.centre_crop.resized_middle`
        sized = (
            f"full = int(side / {crop_pct!r})\n"
            f"first = round((full - side) / 2)  # the middle\n"
            f"image = image.resize((full, full), {how})\n"
            "image = image.crop((first, first, first + side, first + side))"
        )
    name = json.dumps(file, ensure_ascii=False)
    return SNIPPET.format(file=name, squared=SQUARED[fit], sized=sized)
