"""Names of data sets, and the folders in which relative names are looked up; imports no torch."""

import os
from contextlib import suppress
from pathlib import Path

from ruggedize.core.errors import UserError
from ruggedize.core.places import absolute_path, is_there
from ruggedize.data.options import DataOptions
from ruggedize.data.root import VARIABLE, data_root

BUILT_IN = ("digits", "cifar10", "cifar100")
PREFIX = "hf:"  # prefix of Hugging Face data sets


def is_place(name: str) -> bool:
    """Return whether a name refers to a folder or a table."""
    return name not in BUILT_IN and not name.startswith(PREFIX)


def places_of(options: DataOptions) -> list[Path]:
    """Return the absolute paths at which to look for a folder or table, in this order.

    These are below `root` if it is set, or else in the current folder and in the data folder.
    """
    if options.root is not None or os.path.isabs(options.name):
        return [absolute_path(Path(options.root or "") / options.name)]
    places = [absolute_path(options.name)]
    with suppress(UserError):  # no variable and no home folder
        places.append(data_root() / options.name)
    return places


def place_of(options: DataOptions) -> Path:
    """Return the first path of `places_of` that exists; if none does, the first of all."""
    places = places_of(options)
    return next((place for place in places if is_there(place)), places[0])


def with_absolute_place(options: DataOptions) -> DataOptions:
    """Return the options with the name of an existing folder or table made absolute.

    For CIFAR, the root becomes the folder that the environment names, which may be relative.
    """
    if options.name in BUILT_IN:
        named = options.name != "digits" and options.root is None and os.environ.get(VARIABLE)
        return options.model_copy(update={"root": data_root()}) if named else options
    prefix, place = "", place_of(options)
    if options.name.startswith(PREFIX):
        prefix, place = PREFIX, absolute_path(options.name.removeprefix(PREFIX))
    return options.model_copy(update={"name": f"{prefix}{place}"}) if is_there(place) else options


def beside(data: object, folder: Path) -> object:
    """Return a table of options whose relative paths refer to `folder`, if they exist there.

    The paths are `root` if it is set, or else `name`, and `unlabelled`.
    """
    if not isinstance(data, dict):
        return data
    found = dict(data)
    keys = [key for key in ("root", "name") if isinstance(data.get(key), str)][:1]
    for key in [*keys, *(["unlabelled"] if isinstance(data.get("unlabelled"), str) else [])]:
        prefix = PREFIX if data[key].startswith(PREFIX) else ""
        path = data[key].removeprefix(prefix)
        if path not in BUILT_IN and not path.startswith("~") and is_there(folder / path):
            found[key] = f"{prefix}{absolute_path(folder / path)}"
    return found
