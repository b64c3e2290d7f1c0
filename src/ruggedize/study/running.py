"""Execution of the runs of a study, each resumed where it was interrupted."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ruggedize.assess import AssessmentFacts, load_assessment, save_assessment
from ruggedize.core.errors import UserError
from ruggedize.core.files import sha256
from ruggedize.core.progress import Progress, no_progress
from ruggedize.data import load_splits
from ruggedize.pipeline import check_recipe, reject_other_run, write_recipe
from ruggedize.pipeline import run as run_recipe
from ruggedize.recipe import Recipe, differing
from ruggedize.study.planning import PlannedRun
from ruggedize.study.reading import COPY, Study
from ruggedize.study.sharing import MODEL, reuse_teachers
from ruggedize.study.summary import (
    VALIDATION,
    RunSummary,
    load_summaries,
    portable_recipe,
    summarise,
    trained_stages,
    write_summary,
)
from ruggedize.study.validation import assess_validation
from ruggedize.train import default_accelerator, load_trained


def perform(
    study: Study,
    run: PlannedRun,
    runs: Sequence[PlannedRun],
    out: Path,
    progress: Progress = no_progress,
) -> Path:
    """Train and assess one run and write its summary; return the path of the summary.

    Args:
        study: the study.
        run: the run.
        runs: all runs of the study, whose finished teachers are reused.
        out: the folder of the study.
        progress: called as progress(task, done, total) after every unit of work.

    Raises:
        UserError: the folder belongs to another recipe or is in use, or the data is missing.
    """
    folder, recipe, accelerator = run.folder(out), run.recipe, default_accelerator()
    if accelerator.num_processes > 1:
        raise UserError(
            "a run of a study is trained by one process, got several;\n"
            "start `ruggedize study` without torchrun or accelerate"
        )
    reject_other_run(folder, recipe)
    data = load_splits(recipe.data, progress=progress)
    check_recipe(recipe, data, accelerator)
    write_recipe(folder, recipe, data)
    reuse_teachers(run, runs, out)
    run_recipe(recipe, folder, accelerator=accelerator, progress=progress)
    last = trained_stages(folder, recipe)[-1]
    if not is_validated(folder, last):
        options, num_classes = recipe.training_of(last), len(data.train.classes)
        model = load_trained(folder / last / MODEL, options, num_classes)
        result = assess_validation({last: model}, recipe, data, accelerator, progress)
        facts = AssessmentFacts(models={last: sha256(folder / last / MODEL)})
        save_assessment(result, folder / VALIDATION, facts)
    return write_summary(study.results(out), summarise(study, run, out))


def is_validated(folder: Path, last: str) -> bool:
    """Return whether there is an assessment of the last stage's current model on validation images.

    Earlier versions did not record the hash of the model.
    """
    if not (folder / VALIDATION).exists():
        return False
    known = load_assessment(folder / VALIDATION).facts.models.get(last)
    return known in (None, sha256(folder / last / MODEL))


def unfinished(study: Study, runs: Sequence[PlannedRun], out: Path) -> list[PlannedRun]:
    """Return the runs without a summary, in order."""
    done = {summary.name for summary in load_summaries(study.results(out))}
    return [run for run in runs if run.name not in done]


def reject_changed_study(study: Study, runs: Sequence[PlannedRun], out: Path) -> None:
    """Raise UserError if a run that has begun, or its summary, has another recipe.

    Arms and seeds may be added at any time.
    """
    done = {summary.name: summary for summary in load_summaries(study.results(out))}
    for run in runs:
        reject_other_run(run.folder(out), run.recipe)
        if run.name in done:
            reject_other_summary(study, run, done[run.name])


def reject_other_summary(study: Study, run: PlannedRun, summary: RunSummary) -> None:
    """Raise UserError if a summary belongs to another recipe or study."""
    keys = differing(portable_recipe(run.recipe), with_new_options(summary.recipe))
    if keys or summary.study != study.name:
        other = f"another recipe, which differs in {', '.join(keys[:8])}"
        raise UserError(
            f"study {study.name} has a result of {run.name} with "
            f"{other if keys else f'the name of another study, {summary.study}'};\n"
            "rename the arm, or delete the result"
        )


def with_new_options(table: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe of a summary with the defaults of options that were added since."""
    try:
        return portable_recipe(Recipe.model_validate(table))
    except ValidationError:  # an option was removed or renamed
        return table


def keep_study_file(study: Study, out: Path) -> None:
    """Copy the study file into the folder of its runs."""
    out.mkdir(parents=True, exist_ok=True)
    if study.path.resolve() != (out / COPY).resolve():
        shutil.copyfile(study.path, out / COPY)
