"""Arguments of the modules, validated by the options of recipes under the modules' own names."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Options = TypeVar("Options", bound=BaseModel)


def checked(kind: type[Options], values: Mapping[str, Any], names: Mapping[str, str]) -> Options:
    """Validate a module's arguments as options of a recipe.

    Args:
        kind: the type of the options.
        values: values by the names of the options.
        names: the module's arguments by the names of the options, where they differ.

    Raises:
        ValueError: a value is invalid; the message names the module's argument.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        fault = error.errors()[0]
        option = str(fault["loc"][0]) if fault["loc"] else ""
        name = names.get(option, option)
        reason = fault["msg"].removeprefix("Value error, ")
        for key, argument in names.items():
            reason = re.sub(rf"\b{key}\b", argument, reason)
        if fault["type"] == "value_error":  # our own message
            raise ValueError(reason) from None
        given, allowed = values.get(option, fault["input"]), reason.removeprefix("Input should be ")
        says = f"{name}: {reason}" if allowed == reason else f"{name} must be {allowed}"
        raise ValueError(f"{says}, got {given!r}") from None
