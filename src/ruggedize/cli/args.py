"""What the commands' arguments are called in the help, and how they are read."""

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ruggedize.corruptions import allowed_texts


def only_real(default: str) -> str:
    """Show a default that tells something: where there is none, the help itself says what holds."""
    return "" if default in ("", "None") else f"(default: {default})"


def named(metavar: str) -> Any:
    """Call an option's value so; the option may be left out."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=only_real)


def several(metavar: str) -> Any:
    """Call places so, at least one of which must be given."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="(required)")


RecipeName = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
Runs = Annotated[tyro.conf.Positional[tuple[Path, ...]], several("RUN...")]
Models = Annotated[tyro.conf.Positional[tuple[str, ...]], several("RUN|MODEL...")]
OneModel = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN|MODEL")]
Pictures = Annotated[tyro.conf.Positional[tuple[Path, ...]], several("IMAGE|DIR...")]
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
