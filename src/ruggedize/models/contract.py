"""How a model takes images and returns scores, as far as a file or the user says it."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from ruggedize.core.errors import UserError
from ruggedize.core.reading import read_bytes
from ruggedize.models.classifier import Channels
from ruggedize.models.predictor import ChannelOrder, Layout, Output


class Contract(NamedTuple):
    """What is said of a model's input and output; None: nothing."""

    input_size: int | None = None
    resize: int | None = None
    mean: Channels | None = None
    std: Channels | None = None
    layout: Layout | None = None
    channels: ChannelOrder | None = None
    output: Output | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The names of what is said."""
        return tuple(name for name, value in self._asdict().items() if value is not None)

    def filled(self, said: "Contract", file: str) -> "Contract":
        """Return this contract with what a file says of itself.

        Raises:
            UserError: the file says something else.
        """
        for name in self.given:
            ours, theirs = getattr(self, name), getattr(said, name)
            if theirs is not None and ours != theirs:
                raise UserError(
                    f"{file} says that its {spoken(name)} is {theirs}, got {option(name)} {ours};\n"
                    "leave the option out"
                )
        return said._replace(**{name: getattr(self, name) for name in self.given})


def option(name: str) -> str:
    """Return the command line's name of a part of the contract."""
    return f"--{name.replace('_', '-')}"


def spoken(name: str) -> str:
    """Return a part of the contract in words."""
    return name.replace("_", " ")


def parsed_channels(name: str, text: str) -> Channels:
    """Read "0.5" or "0.485,0.456,0.406", a value for red, green and blue each."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1:
        values *= 3
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise UserError(
            f"{name} must be one number or three, for red, green and blue, got {text};\n"
            f"give e.g. {name} 0.485,0.456,0.406, for pixels in 0..1"
        )
    return (values[0], values[1], values[2])


def read_classes(file: Path) -> tuple[str, ...]:
    """Read the names of a model's outputs, one a line, in their order."""
    names = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    if len(names) < 2:
        raise UserError(
            f"{file} names {len(names)} classes;\ngive the name of each output on its own line"
        )
    return names


def read_class_map(file: Path) -> dict[str, str]:
    """Read lines MODEL_CLASS,DATA_CLASS: the data's class by the model's."""
    found: dict[str, str] = {}
    try:
        rows = list(csv.reader(read_text(file).splitlines()))
    except csv.Error as error:
        raise UserError(f"{file} is not a table ({error});\nsave it as CSV in UTF-8") from None
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != 2 or not all(cells):
            raise UserError(
                f"{file}, line {number}: a line must be MODEL_CLASS,DATA_CLASS, got {','.join(row)}"
                ';\nput names that hold a comma in quotes: "tench, Tinca tinca",fish'
            )
        if found.get(cells[0], cells[1]) != cells[1]:
            raise UserError(
                f"{file}, line {number}: {cells[0]} has two data classes, {found[cells[0]]} and "
                f"{cells[1]};\ngive each model class once"
            )
        found[cells[0]] = cells[1]
    return found


def read_text(file: Path) -> str:
    """Read a text file in UTF-8."""
    try:
        return read_bytes(file).decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"there is no file {file};\ngive the path of a text file") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8 text;\nsave it as UTF-8") from None
