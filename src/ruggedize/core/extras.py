"""Optional dependencies (extras), which only some commands need."""

from importlib import import_module

from ruggedize.core.errors import UserError

EXTRAS = {
    "hub": {"huggingface_hub": "huggingface-hub"},
    "onnx": {"onnx": "onnx", "onnxruntime": "onnxruntime", "onnxscript": "onnxscript"},
}
"""For each extra: the modules that are imported and the packages that provide them."""


def require_extra(extra: str, purpose: str) -> None:
    """Raise UserError if a package of an extra is not installed.

    Args:
        extra: a key of `EXTRAS`.
        purpose: what needs the extra, as the subject of the message: "the Hugging Face Hub".
    """
    missing = [package for name, package in EXTRAS[extra].items() if not can_import(name)]
    if missing:
        raise UserError(f"{purpose} needs {', '.join(missing)};\npip install 'ruggedize[{extra}]'")


def can_import(name: str) -> bool:
    """Return whether a module is installed and can be imported."""
    try:
        import_module(name)
    except ImportError:
        return False
    return True
