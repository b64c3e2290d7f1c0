"""What the commands' arguments are called in the help, and how they are read."""

from pathlib import Path
from typing import Annotated

import tyro

from evenkeel.corruptions.names import Frost

RecipeName = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
Runs = Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")]
Models = Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN|MODEL...")]
OneModel = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN|MODEL")]
Pictures = Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE|DIR...")]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="DIR")]
Whole = Annotated[int | None, tyro.conf.arg(metavar="INT")]
Name = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
Names = Annotated[str | None, tyro.conf.arg(metavar="NAME,...")]
FrostKind = Annotated[Frost | None, tyro.conf.arg(metavar="photographs|procedural")]
File = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]
DataName = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
Changes = Annotated[
    tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="set", metavar="KEY=VALUE")
]
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
AsCsv = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(name="csv")]
