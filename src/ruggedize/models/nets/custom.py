"""A network that is not ours: it is passed from Python, and only its weights are in the file."""

from typing import NoReturn

from ruggedize.models.architecture import Architecture
from ruggedize.models.initialisation import fan_in_uniform, filling
from ruggedize.models.options import CustomOptions
from ruggedize.runs import UserError


def layout(options: CustomOptions, num_classes: int) -> NoReturn:
    """Raise UserError: there is no description to build the network from."""
    raise UserError(
        "the network is one of your own and cannot be built from its name;\n"
        "pass it from Python: train_teacher(..., network=...), load_model(..., network=...)"
    )


ARCHITECTURE = Architecture(layout, filling(fan_in_uniform, fan_in_uniform))
