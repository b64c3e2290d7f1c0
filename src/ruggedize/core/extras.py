"""Packages that only some commands need: the extras of an installation."""

from importlib.util import find_spec

from ruggedize.core.errors import UserError

EXTRAS = {
    "hub": {"huggingface_hub": "huggingface-hub"},
    "onnx": {"onnx": "onnx", "onnxruntime": "onnxruntime", "onnxscript": "onnxscript"},
}
"""By extra: the modules that are imported, and the packages that they come with."""


def require_extra(extra: str, purpose: str) -> None:
    """Raise UserError if a package of an extra is not installed.

    Args:
        extra: a key of `EXTRAS`.
        purpose: what needs it, as the beginning of a sentence: "the Hugging Face Hub".
    """
    missing = [package for name, package in EXTRAS[extra].items() if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{purpose} needs {', '.join(missing)};\n"
            f"pip install {' '.join(missing)} (the extra [{extra}] has all that is needed)"
        )
