"""The lines that serve an exported ONNX file without this project."""

import json

SNIPPET = """\
import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession({file})
facts = session.get_modelmeta().custom_metadata_map
classes, stored, side = (json.loads(facts[key]) for key in ("classes", "image_size", "input_size"))
image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
image = ImageOps.fit(image, (stored, stored), Image.Resampling.BICUBIC)  # the middle square
image = image.resize((side, side), Image.Resampling.BILINEAR)
logits = session.run(["logits"], {{"images": np.asarray(image).transpose(2, 0, 1)[None]}})[0][0]
probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
print(classes[logits.argmax()], f"{{probabilities.max():.4f}}")
"""


def serving_snippet(file: str) -> str:
    """Return Python code that classifies `photo.jpg` with an ONNX file that was exported."""
    return SNIPPET.format(file=json.dumps(file, ensure_ascii=False))
