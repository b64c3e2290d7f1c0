"""Models that the user's own code builds, `package.module:function`; loading runs that code."""

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.models.classifier import Classifier
from ruggedize.models.predictor import Predictor

Made = nn.Module | Classifier | Predictor | Callable[[Tensor], Tensor]
PLACE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


def names_function(text: str) -> bool:
    """Return whether a text has the form `package.module:function`."""
    return PLACE.fullmatch(text) is not None


def made_by(text: str) -> Made:
    """Import a function, also from the current folder, call it and return the model that it builds.

    Raises:
        UserError: the module or function does not exist, fails, or does not return a model.
    """
    module_name, _, function_name = text.partition(":")
    with importing_from(Path.cwd()):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if not f"{module_name}.".startswith(f"{error.name}."):
                raise failed(text, error) from error
            raise UserError(
                f"there is no module {error.name} in this folder or among the installed packages;\n"
                f"use package.module:function, and start in the folder that contains the package"
            ) from error
        except Exception as error:
            raise failed(text, error) from error
        function: Any = getattr(module, function_name, None)
        if not callable(function):
            raise UserError(
                f"{module_name} has no function {function_name};\n"
                "name a function that takes no arguments and returns the model"
            )
        try:
            made: Any = function()
        except Exception as error:
            raise failed(text, error) from error
    check_model(text, made)
    return made


def check_model(text: str, made: object) -> None:
    """Raise UserError unless an object can be used as a model."""
    if not isinstance(made, Predictor) and not callable(made):
        raise UserError(
            f"{text} must return a model, got {type(made).__name__};\n"
            "return an nn.Module, or a function that maps uint8 images to scores"
        )


def failed(text: str, error: Exception) -> UserError:
    """Build the error for a failure in the user's own code; raise it from the original error."""
    place = deepest_line(error)
    return UserError(
        f"{text} failed: {type(error).__name__}: {str(error).partition(chr(10))[0]}{place};\n"
        "fix that code: it is called without arguments and must return the model"
    )


def deepest_line(error: BaseException) -> str:
    """Return the file and line that raised an error, as text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})"


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Add a folder to the front of the import path, within a `with` block; then to its end.

    The user's code may import more of its modules when the model is called.
    """
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
