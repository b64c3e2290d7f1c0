"""Types of command-line arguments: how they are shown in `--help` and how they are parsed."""

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ruggedize.corruptions import allowed_texts


def default_hint(default: str) -> str:
    """Hide empty defaults in `--help`."""
    return "" if default in ("", "None") else f"(default: {default})"


def named(metavar: str) -> Any:
    """Return the settings of an optional argument."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=default_hint)


def several(metavar: str) -> Any:
    """Return the settings of a positional argument that takes one or more values."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="(required)")


RecipeName = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
StudyFile = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="STUDY.toml")]
Reported = Annotated[tyro.conf.Positional[tuple[Path, ...]], several("RUN|JSON...")]
Models = Annotated[tyro.conf.Positional[tuple[str, ...]], several("RUN|MODEL...")]
OneModel = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN|MODEL")]
Pictures = Annotated[tyro.conf.Positional[tuple[Path, ...]], several("IMAGE|DIR...")]
DataSet = Annotated[str | None, named("NAME")]
Folder = Annotated[Path | None, named("DIR")]
Whole = Annotated[int | None, named("INT")]
Name = Annotated[str | None, named("NAME")]
Channels = Annotated[str | None, named("R,G,B")]
Layout = Annotated[Literal["nchw", "nhwc"] | None, named("nchw|nhwc")]
ChannelOrder = Annotated[Literal["rgb", "bgr"] | None, named("rgb|bgr")]
Output = Annotated[Literal["logits", "probabilities"] | None, named("logits|probabilities")]
Names = Annotated[str | None, named("NAME,...")]
Options = Annotated[
    tyro.conf.UseAppendAction[tuple[str, ...]],
    tyro.conf.arg(name="option", metavar=allowed_texts()),
]
File = Annotated[Path | None, named("FILE")]
DataName = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
Changes = Annotated[
    tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="set", metavar="KEY=VALUE")
]
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
AsCsv = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="csv")]
Preset = Annotated[
    Literal["auto", "cifar", "imagenet", "scaled"] | None,
    tyro.conf.arg(help_behavior_hint=default_hint),
]
