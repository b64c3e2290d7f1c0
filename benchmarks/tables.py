"""The tables of docs/performance.md, written from the results: `python -m benchmarks.tables`."""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, Content, missing_peers

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
TABLE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
PACKAGES = ("torch", "numba")  # of ours, that a figure depends on most
OURS, PLAIN = "ruggedize, one core", "oracle, one core"


def write_tables() -> None:
    """Write the committed results between the page's markers."""
    PAGE.write_text(filled(PAGE.read_text()))
    print(PAGE)


def filled(page: str) -> str:
    """Return the page with each table as its result says."""
    return TABLE.sub(lambda match: match[1] + table(match[2]) + match[3], page)


def committed(name: str) -> Content | None:
    """Read a committed result, if there is one."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def table(name: str) -> str:
    """Format one result, or state that there is none yet."""
    content = committed(name)
    if content is None or "images_per_second" not in content:
        return f"Not measured yet: `python -m benchmarks {name.split('--')[0]} --update`.\n"
    if name.startswith("corruptions"):
        lines = corruption_rows(content["images_per_second"])
    elif name == "waiting":
        lines = columns(content["images_per_second"])
    else:
        lines = [line for group in content["images_per_second"] for line in rows(content, group)]
    for recipe, found in content.get("recipes", {}).items():
        lines += phase_rows(recipe, found)
    if memory := content.get("peak memory, MB"):
        lines += memory_rows(memory)
    return "\n".join([*lines, caption(name, content)]) + "\n"


def rows(content: Content, group: str) -> list[str]:
    """Return a table of contestants that were timed together, and of ours to each peer."""
    rates = content["images_per_second"][group]
    lines = [f"| {group} | images/s | quartiles |", "|---|---|---|"]
    lines += [f"| {name} | {rate(found)} | {spread(found)} |" for name, found in rates.items()]
    lines.append("")
    ratios = {
        key: ratio for key, ratio in content["ratios"].items() if key.startswith(f"{group}: ")
    }
    if ratios:
        lines += ["| ours / peer | times | quartiles |", "|---|---|---|"]
    for key, ratio in ratios.items():
        low, high = ratio["quartiles"]
        name = key.removeprefix(f"{group}: ")
        lines.append(f"| {name} | **{ratio['ratio']:.3g}** | {low:.3g} to {high:.3g} |")
    return [*lines, ""] if ratios else lines


def columns(found: dict[str, Any]) -> list[str]:
    """Return a table with one row per contestant and one column per group."""
    lines = [f"| images/s | {' | '.join(found)} |", "|---" * (1 + len(found)) + "|"]
    for name in next(iter(found.values())):
        lines.append(f"| {name} | {' | '.join(rate(group[name]) for group in found.values())} |")
    return [*lines, ""]


def corruption_rows(found: dict[str, Any]) -> list[str]:
    """Return one row a corruption."""
    names = ("ruggedize", OURS, PLAIN)
    lines = [f"| images/s | {' | '.join(names)} | times, one core |", "|---|---|---|---|---|"]
    for corruption, rates in found.items():
        cells = " | ".join(rate(rates[name]) for name in names)
        times = rates[OURS]["images_per_second"] / rates[PLAIN]["images_per_second"]
        lines.append(f"| {corruption} | {cells} | {times:.3g} |")
    return [*lines, ""]


def phase_rows(recipe: str, found: dict[str, Any]) -> list[str]:
    """Return one row a phase of a step, and the floors under all of them."""
    lines = [f"| `{recipe}`, batch {found['batch size']} | ms | share |", "|---|---|---|"]
    for phase, spent in found["milliseconds"].items():
        lines.append(f"| {phase} | {three_digits(spent)} | {found['share'][phase]:.1%} |")
    for floor, least in found["floor ms"].items():
        share = least / found["milliseconds"]["whole"]
        lines.append(f"| *floor: {floor}* | {three_digits(least)} | {share:.1%} |")
    operations, moved = found["floating point operations"], found["bytes moved at least"]
    return [
        *lines,
        "",
        f"{operations / 1e9:.0f} GFLOP at {found['matrix product GFLOP/s']} GFLOP/s; "
        f"{moved / 1e9:.2f} GB at {found['copy GB/s']:g} GB/s; {found['precision']}; "
        f"{three_digits(found['images_per_second'])} images/s.",
        "",
    ]


def memory_rows(found: dict[str, Any]) -> list[str]:
    """Return one row a number of images and way of reading them."""
    lines = ["| largest resident memory, MB | main process | a worker process |", "|---|---|---|"]
    for number, ways in found.items():
        for how, peak in ways.items():
            main, worker = peak["main process"], peak["largest worker process"]
            shown = f"{worker:,.0f}" if worker else "none"
            lines.append(f"| {number}, {how} | {main:,.0f} | {shown} |")
    return [*lines, ""]


def rate(found: dict[str, Any]) -> str:
    """Write a median rate with three digits."""
    return three_digits(found["images_per_second"])


def spread(found: dict[str, Any]) -> str:
    """Write the quartiles of a rate."""
    low, high = found["quartiles"]
    return f"{three_digits(low)} to {three_digits(high)}"


def three_digits(value: float) -> str:
    """Round to three digits, without an exponent."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"


def caption(name: str, content: Content) -> str:
    """Describe where, with what and how often the figures were measured."""
    environment = content["environment"]
    versions = {package: environment["packages"][package] for package in PACKAGES}
    if "peers" in content:
        missing = missing_peers(content)
        present = {peer: v for peer, v in content["peers"].items() if peer not in missing}
        versions |= present
    else:
        missing = []
    facts = [f"{environment['cores']} cores ({environment['processor']})"]
    facts += [f"{package} {version}" for package, version in versions.items()]
    facts.append(f"median of {content['rounds']} rounds")
    facts += [f"{package} was missing" for package in missing]
    facts += [f"{what}: {value:g} s" for what, value in seconds(content).items()]
    return f"*{', '.join(facts)}: [{name}.json](../benchmarks/results/{name}.json).*"


def seconds(content: Content) -> dict[str, float]:
    """Return what took a number of seconds, where something was measured so."""
    found = content.get("seconds", {})
    return {what: value for what, value in found.items() if isinstance(value, float)}


if __name__ == "__main__":
    write_tables()
