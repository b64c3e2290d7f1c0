"""Run comparisons, print them, and fail where ours has fallen behind what is committed."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import tables
from benchmarks.guard import judge
from benchmarks.record import Content, missing_peers
from ruggedize.core import files

ROUNDS = 5
Measure = Callable[[int], dict[str, Content]]  # rounds -> the content of each result


def compare(comparisons: dict[str, Measure], arguments: Sequence[str] | None = None) -> None:
    """Run the comparisons that are asked for; exit 1 where a ratio fell (see `guard`)."""
    asked = parsed(list(comparisons), arguments)
    out = tables.RESULTS if asked.update else Path(tempfile.mkdtemp(prefix="ruggedize-bench-"))
    failures = []
    for comparison in asked.names or comparisons:
        for name, content in comparisons[comparison](asked.rounds).items():
            if asked.update and (missing := missing_peers(content)):
                sys.exit(f"{comparison}: {', '.join(missing)} is missing; install it to --update")
            verdict = judge(tables.committed(name), content)
            print(summary(name, content))
            print("".join(f"not judged: {sentence}\n" for sentence in verdict.not_judged), end="")
            failures += verdict.failures
            files.write_json(out / f"{name}.json", content)
            print(f"-> {out / name}.json\n", flush=True)
    if asked.update:
        tables.write_tables()
        return
    if failures:
        sys.exit("slower beside the peers than committed:\n" + "\n".join(failures))


def parsed(names: list[str], arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(names)}; none: all")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="times each contestant works")
    parser.add_argument(
        "--update",
        action="store_true",
        help="write benchmarks/results and the tables of docs/performance.md, and fail nowhere; "
        "without it results go to a temporary folder",
    )
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.names if name not in names]:
        parser.error(f"no comparison {', '.join(unknown)}; there are {', '.join(names)}")
    if asked.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {asked.rounds}")
    return asked


def summary(name: str, content: Content) -> str:
    """Summarise what was measured, and which peers are missing."""
    lines = [f"{name}, images a second:"]
    for group, rates in content["images_per_second"].items():
        lines += [
            f"  {group}: {contestant}  {json.dumps(found['images_per_second'])}"
            for contestant, found in rates.items()
        ]
    lines += [f"  {ratio['ratio']:8g} x  {key}" for key, ratio in content["ratios"].items()]
    lines += [f"  missing: {package}" for package in missing_peers(content)]
    return "\n".join(lines)
