"""`make results`: write docs/results.md and the README's tables from the studies' summaries."""

import re
from collections.abc import Sequence

from docs.build import DOCS
from ruggedize.study import (
    COLUMNS,
    ArmRow,
    RunSummary,
    Study,
    arm_rows,
    best_on_validation,
    columns_of,
    difference_text,
    load_study,
    load_summaries,
    seconds_text,
    spread_text,
)

ROOT = DOCS.parent
PAGE, README = DOCS / "results.md", ROOT / "README.md"
STUDIES = ROOT / "benchmarks" / "studies"
MARKED = re.compile(r"(<!-- results: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
FINDINGS = re.compile(r"^# Findings: (.*\n(?:# .*\n)*)", re.MULTILINE)
COMMAND = re.compile(
    r"^# ((?:ruggedize (?:study|fetch)|python|\(cd) .*?)(?:  +\(.*)?$", re.MULTILINE
)
TEACHERS = (
    ("mini", "fixed-teacher", "noise-only"),
    ("mini", "mean-teacher", "noise-only"),
    ("full", "teacher", "noise-only"),
    ("few-labels", "noisy-student", "labels-only"),
    ("few-labels-narrow", "noisy-student", "labels-only"),
    ("few-labels-narrow", "noisy-student-onward", "labels-only"),
    ("few-labels-narrow", "consistency-onward", "labels-only"),
    ("few-labels-narrow", "mean-teacher-onward", "labels-only"),
    ("few-labels-narrow", "fixmatch", "labels-only"),
    ("cifar10-cpu", "recipe", "noise-only"),
    ("four-classes-200", "consistency", "noise-only"),
    ("four-classes-200", "consistency-wise", "noise-only-wise"),
    ("four-classes-50", "consistency", "noise-only"),
    ("four-classes-50", "consistency-wise", "noise-only-wise"),
)
"""Study, arm with a teacher, and the arm with the same noise and no teacher."""
ABOUT_TEACHERS = """
In few-labels and few-labels-narrow, the arms with a teacher also learn from images without labels,
which the other arm cannot use."""
HEAD = """# Results

`make results` writes this page from the summaries of finished runs in `benchmarks/results/studies`.
The studies are in [benchmarks/studies](../benchmarks/studies); [Run a study](studies.md) describes
how they work. Accuracies are in %, as mean ± standard deviation over seeds. Differences are in
percentage points, paired by seed, with 95 % t-intervals, which cover the randomness of the training
but not the choice of the test images. "validation, extras" is the accuracy on held-out training
images under the four extra corruptions, by which arms are chosen. The other columns are on test
images. All runs that were assessed on test images are included. The arm with the highest accuracy
on validation, over the seeds that all arms have, is bold. Seconds are medians with their range;
they depend on the machines, which are named below each table, and on other work on them.
"""


def page() -> str:
    """Return the page."""
    studies = [load_study(path) for path in sorted(STUDIES.glob("*.toml"))]
    parts = [HEAD, "## What does a teacher add to the same noise?\n"]
    parts += teacher_rows({study.name: study for study in studies})
    for study in filter(summaries_of, studies):
        parts += ["", f"## {study.name}\n", *section(study)]
    parts += unmeasured([study for study in studies if not summaries_of(study)])
    return "\n".join(parts) + "\n"


def summaries_of(study: Study) -> list[RunSummary]:
    """Return the summaries of a study's finished runs."""
    return load_summaries(study.results(study.path.parent))


def rows_of(study: Study) -> list[ArmRow]:
    """Return the arms of a study that have finished runs."""
    return arm_rows(summaries_of(study), study.baseline, list(study.tables))


def teacher_rows(studies: dict[str, Study]) -> list[str]:
    """Return the table of the differences that a teacher makes at equal compute."""
    lines = [
        "The difference from the same noise without a teacher, at equal compute:\n",
        "| study | arm | without a teacher | seeds | clean | severity 5 | C15 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, arm, other in TEACHERS:
        rows = arm_rows(summaries_of(studies[name]), other, list(studies[name].tables))
        row = next((row for row in rows if row.arm == arm), None)
        clean = None if row is None else row.differences["clean"]
        if row is None or clean is None:
            continue
        columns, pairs = ("clean", "severity5_top1", "c15"), clean.num_pairs
        found = [difference_text(row.differences[column], pairs) or "-" for column in columns]
        lines.append(f"| [{name}](#{name}) | {arm} | {other} | {pairs} | {' | '.join(found)} |")
    return [*lines, ABOUT_TEACHERS]


def section(study: Study) -> list[str]:
    """Return the section of one study."""
    summaries = summaries_of(study)
    done = {each.name for each in summaries}
    planned = {f"{arm}-seed{seed}" for arm, seed in study.runs}
    lines = [
        f"{study.header}.\n",
        f"{len(done & planned)} of {len(planned)} runs are finished"
        f"{'' if study.options.budget is None else f'; {study.options.budget} per run'}.\n",
        "```console",
        *commands(study),
        "```",
    ]
    rows = rows_of(study)
    lines += ["", *table(rows, study.baseline), *findings(study), ""]
    return [*lines, *by_corruption(summaries, rows), "", *machines(summaries)]


def unmeasured(studies: Sequence[Study]) -> list[str]:
    """Return the section of the studies that have no finished run."""
    if not studies:
        return []
    lines = [
        "",
        "## Not measured yet\n",
        "These studies are ready to run, with the command in the head of each file.\n",
        "| study | runs | budget of a run |",
        "|---|---|---|",
    ]
    for study in studies:
        file = f"[{study.name}](../benchmarks/studies/{study.path.name})"
        lines.append(
            f"| {file}: {study.header} | {len(study.runs)} | {study.options.budget or '-'} |"
        )
    return lines


def findings(study: Study) -> list[str]:
    """Return what a study file says about its results, as one paragraph."""
    found = FINDINGS.search(study.path.read_text())
    return ["", " ".join(found[1].replace("\n# ", "\n").split())] if found else []


def commands(study: Study) -> list[str]:
    """Return the commands that the head of a study file names."""
    found = COMMAND.findall(study.path.read_text())
    return [f"$ {' '.join(command.split())}" for command in found]


def table(rows: Sequence[ArmRow], baseline: str) -> list[str]:
    """Return the arms side by side; the best on validation is bold."""
    columns = columns_of(rows)
    titles = [COLUMNS[column][0] for column in columns]
    best = best_on_validation(rows)
    compared = next(
        name for name in ("c15", "severity5_top1", "chosen", "clean") if name in columns
    )
    lines = [
        f"| arm | seeds | {' | '.join(titles)} "
        f"| {COLUMNS[compared][0]} - {baseline} | PFLOP | seconds (range) |",
        "|---" * (len(titles) + 5) + "|",
    ]
    for row in rows:
        name = f"**{row.arm}**" if row.arm == best else row.arm
        values = [spread_text(row.values[column]) for column in columns]
        difference = difference_text(row.differences[compared], len(row.runs)) or "-"
        cost = f"{row.pflop.mean:.3g} | {seconds_text(row.runs)}"
        lines.append(f"| {name} | {len(row.runs)} | {' | '.join(values)} | {difference} | {cost} |")
    return lines


def by_corruption(summaries: Sequence[RunSummary], rows: Sequence[ArmRow]) -> list[str]:
    """Return the mean accuracy of each arm under each corruption."""
    arms = [row.arm for row in rows]
    groups = {arm: [run.result.corruptions for run in summaries if run.arm == arm] for arm in arms}
    names = dict.fromkeys(name for group in groups.values() for run in group for name in run)
    severities = {level for run in summaries for level in run.recipe["assess"]["severities"]}
    title = "corruption, severit" + ("y" if len(severities) == 1 else "ies")
    title = f"{title} {', '.join(map(str, sorted(severities)))}"
    lines = [f"| {title} | {' | '.join(arms)} |", "|---" * (len(arms) + 1) + "|"]
    for name in names:
        cells = []
        for group in groups.values():
            found = [run[name] for run in group if name in run]
            cells.append(f"{100 * sum(found) / len(found):.2f}" if found else "-")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def machines(summaries: Sequence[RunSummary]) -> list[str]:
    """Return the machines and versions of a study, one line each."""
    found = {}
    for run in summaries:
        facts = run.environment
        where = ", ".join(facts.get("gpus") or [f"{facts['cores']} cores of {facts['processor']}"])
        known = [facts.get("instructions"), *(stage.precision for stage in run.stages.values())]
        details = [each for each in dict.fromkeys(known) if each not in {None, "DEFAULT"}]
        place = ", ".join([where, *details, f"torch {facts['packages']['torch']}"])
        found.setdefault(place, []).append(run.name)
    counts = {place: f"{len(names)} run{'s' * (len(names) > 1)}" for place, names in found.items()}
    return [f"{place}: {count}." for place, count in counts.items()]


def filled(text: str) -> str:
    """Return a page with the table of a study between its markers, where there are results."""
    return MARKED.sub(lambda match: match[1] + (marked(match[2]) or inner(match)) + match[3], text)


def inner(match: re.Match[str]) -> str:
    """Return the text that is between the markers."""
    return match[0].removeprefix(match[1]).removesuffix(match[3])


def marked(name: str) -> str:
    """Return the table of a study's arms; empty without results."""
    study = load_study(STUDIES / f"{name}.toml")
    rows = rows_of(study)
    if not rows:
        return ""
    heading = f"`{name}`, accuracy in %, mean ± deviation over seeds ([results](docs/results.md)):"
    return "\n".join([heading, "", *table(rows, study.baseline)]) + "\n"


def main() -> None:
    """Write the page and the tables of the README."""
    PAGE.write_text(page())
    README.write_text(filled(README.read_text()))


if __name__ == "__main__":
    main()
