"""All commands by name, in the order of `--help`, which shows their docstrings."""

from collections.abc import Callable

from ruggedize.cli.assessing import assess, predict, report
from ruggedize.cli.export import card, export, push
from ruggedize.cli.images import corrupt, fetch
from ruggedize.cli.studying import study
from ruggedize.cli.training import recipes, run, train_student, train_teacher, views

COMMANDS: dict[str, Callable[..., None]] = {
    "run": run,
    "train-teacher": train_teacher,
    "train-student": train_student,
    "study": study,
    "assess": assess,
    "report": report,
    "views": views,
    "predict": predict,
    "export": export,
    "card": card,
    "push": push,
    "corrupt": corrupt,
    "fetch": fetch,
    "recipes": recipes,
}
