"""Whether ours has become slower beside its peers: ratios, never absolute times."""

from typing import NamedTuple

from benchmarks.record import Content, missing_peers

LEAST = 0.80  # of a committed median: the least that a new upper quartile may be


class Verdict(NamedTuple):
    """What stands against a measurement, and what could not be judged, in sentences."""

    failures: list[str]
    not_judged: list[str]


def judge(committed: Content | None, measured: Content) -> Verdict:
    """Compare a measurement's ratios with the committed ones.

    A committed ratio that was not measured is a failure, unless its peer is not installed here:
    then it is named as not judged.
    """
    if committed is None or "ratios" not in committed:
        return Verdict([], ["no committed ratios to compare with: commit those of --update"])
    missing = missing_peers(measured)
    failures, not_judged = [], []
    for name, before in committed["ratios"].items():
        now = measured["ratios"].get(name)
        lacking = [package for package in before["needs"] if package in missing]
        if now is not None:
            failures += fallen(name, before["ratio"], now["quartiles"][1])
        elif lacking:
            not_judged.append(f"{name}: {' and '.join(lacking)} missing")
        else:
            failures.append(f"{name}: was {before['ratio']:g}, is not measured any more")
    return Verdict(failures, not_judged)


def fallen(name: str, before: float, upper: float) -> list[str]:
    """Return a message if the new upper quartile is too far below the committed median.

    The upper quartile, because a busy machine makes single rounds slow, and never all of them fast.
    """
    if upper >= LEAST * before:
        return []
    return [f"{name}: fell by {1 - upper / before:.0%}, from {before:g} to {upper:g} (quartile 3)"]
