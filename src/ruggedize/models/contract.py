"""Contracts: how a model takes images and returns scores, as declared by its file or the user."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from ruggedize.core.errors import UserError
from ruggedize.core.reading import read_bytes
from ruggedize.models.classifier import Channels
from ruggedize.models.predictor import ChannelOrder, Layout, Output


class Contract(NamedTuple):
    """Declared properties of a model's input and output; None if undeclared."""

    input_size: int | None = None
    resize: int | None = None
    mean: Channels | None = None
    std: Channels | None = None
    layout: Layout | None = None
    channels: ChannelOrder | None = None
    output: Output | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The names of the declared properties."""
        return tuple(name for name, value in self._asdict().items() if value is not None)

    def filled(self, said: "Contract", file: str) -> "Contract":
        """Return this contract, completed by the properties that a file declares.

        Raises:
            UserError: the file declares another value than this contract.
        """
        for name in self.given:
            ours, theirs = getattr(self, name), getattr(said, name)
            if theirs is not None and ours != theirs:
                raise UserError(
                    f"{option(name)} must be {theirs}, as {file} declares its {spoken(name)}, got "
                    f"{ours};\nomit the option"
                )
        return said._replace(**{name: getattr(self, name) for name in self.given})


def option(name: str) -> str:
    """Return the command-line option for a property of the contract."""
    return f"--{name.replace('_', '-')}"


def spoken(name: str) -> str:
    """Return the name of a property in words."""
    return name.replace("_", " ")


def parsed_channels(name: str, text: str) -> Channels:
    """Parse one value for all channels or three for red, green and blue: "0.485,0.456,0.406"."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1:
        values *= 3
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise UserError(
            f"{name} must be one number, or three for red, green and blue, got {text};\n"
            f"use {name} 0.485,0.456,0.406, for example, for pixels in 0..1"
        )
    return (values[0], values[1], values[2])


def read_classes(file: Path) -> tuple[str, ...]:
    """Read the names of a model's outputs, one per line, in the order of the outputs."""
    names = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    if len(names) < 2:
        raise UserError(
            f"{file} must list at least two classes, got {len(names)};\n"
            "write the name of each output on its own line"
        )
    return names


def read_class_map(file: Path) -> dict[str, str]:
    """Read lines of the form MODEL_CLASS,DATA_CLASS; return the data class by model class."""
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
                ';\nquote names that contain a comma: "tench, Tinca tinca",fish'
            )
        if found.get(cells[0], cells[1]) != cells[1]:
            raise UserError(
                f"{file}, line {number}: {cells[0]} has two data classes, {found[cells[0]]} and "
                f"{cells[1]};\nlist each model class only once"
            )
        found[cells[0]] = cells[1]
    return found


def read_text(file: Path) -> str:
    """Read a text file in UTF-8."""
    try:
        return read_bytes(file).decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"there is no file {file};\nuse the path of a text file") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8 text;\nsave it as UTF-8") from None
