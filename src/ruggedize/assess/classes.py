"""Mapping of a model's outputs to the classes of the data."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from ruggedize.core.errors import UserError

UNUSED = -1  # target of an output that matches no class of the data
NUM_LISTED = 5  # names in a message


def output_targets(
    num_outputs: int,
    data_classes: Sequence[str],
    classes: Sequence[str] | None,
    synonyms: Sequence[Sequence[str]] | None = None,
    class_map: Mapping[str, str] | None = None,
) -> Int64[np.ndarray, " k"]:
    """Return, for each output, the number of the data class that it stands for, or UNUSED.

    Args:
        num_outputs: number of scores that the model returns.
        data_classes: names of the data's classes.
        classes: names of the outputs, if known.
        synonyms: other names of each output, the most specific first. They are guesses: if none
            matches a class of the data and the numbers agree, outputs are assigned in order.
        class_map: data class by model class; overrides all names.

    Raises:
        UserError: a class of the data matches no output, or its name is ambiguous.
    """
    check_number("names of classes", classes, num_outputs)
    check_number("synonyms", synonyms, num_outputs)
    if class_map is not None:
        return mapped(num_outputs, data_classes, name_levels(classes, synonyms), class_map)
    if classes is None and synonyms is None:
        return in_order(num_outputs, data_classes)
    targets = np.full(num_outputs, UNUSED, np.int64)
    missing = []
    levels = name_levels(classes, synonyms)
    for number, name in enumerate(data_classes):
        outputs = outputs_named(name, levels, exact=classes is not None)
        targets[outputs] = number
        if not outputs:
            missing.append(name)
    if len(missing) == len(data_classes) and synonyms and num_outputs == len(data_classes):
        return in_order(num_outputs, data_classes)
    if missing:
        raise UserError(
            f"it has {num_outputs} classes ({listed(named(classes, synonyms))}) and the data has "
            f"{len(data_classes)} ({listed(data_classes)}), but no output matches "
            f"{listed(missing)};\ngive --class-map FILE with lines MODEL_CLASS,DATA_CLASS, or "
            "name the data's folders after the model's classes"
        )
    check_distinct(targets, data_classes)
    return targets


def in_order(num_outputs: int, data_classes: Sequence[str]) -> Int64[np.ndarray, " k"]:
    """Assign the outputs to the data's classes in order; raise UserError if the numbers differ."""
    if num_outputs != len(data_classes):
        raise UserError(
            f"it returns {num_outputs} scores, but the data has {len(data_classes)} classes "
            f"({listed(data_classes)});\ngive --classes FILE with one output name per line, or "
            "--class-map FILE with lines MODEL_CLASS,DATA_CLASS"
        )
    return np.arange(num_outputs)


def mapped(
    num_outputs: int,
    data_classes: Sequence[str],
    levels: list[dict[str, list[int]]],
    class_map: Mapping[str, str],
) -> Int64[np.ndarray, " k"]:
    """Return the targets that a class map defines; raise UserError if it does not fit."""
    numbers = {str(number): [number] for number in range(num_outputs)}
    places = {name: number for number, name in enumerate(data_classes)}
    targets = np.full(num_outputs, UNUSED, np.int64)
    for name, data_class in class_map.items():
        outputs = outputs_named(name, [*levels, numbers], exact=False)
        if not outputs:
            raise UserError(
                f"the class map names {name}, which is not a class of the model;\nuse names of its "
                f"classes or numbers of its outputs, 0 to {num_outputs - 1}"
            )
        if data_class not in places:
            raise UserError(
                f"the class map names {data_class}, which is not a class of the data;\n"
                f"use one of {listed(data_classes)}"
            )
        targets[outputs] = places[data_class]
    check_distinct(targets, data_classes)
    return targets


def name_levels(
    classes: Sequence[str] | None, synonyms: Sequence[Sequence[str]] | None
) -> list[dict[str, list[int]]]:
    """Return outputs by name, in order of precedence: classes, first synonyms, other synonyms."""
    others = synonyms or []
    levels = [
        [(name,) for name in classes or []],
        [names[:1] for names in others],
        [names[1:] for names in others],
    ]
    found: list[dict[str, list[int]]] = []
    for level in levels:
        numbers: dict[str, list[int]] = {}
        for number, names in enumerate(level):
            for name in dict.fromkeys(map(plain, names)):
                numbers.setdefault(name, []).append(number)
        found.append(numbers)
    return found


def outputs_named(name: str, levels: list[dict[str, list[int]]], *, exact: bool) -> list[int]:
    """Return the outputs with this name, from the first level that has any.

    Raises:
        UserError: several outputs share the name as a synonym.
    """
    for depth, level in enumerate(levels):
        outputs = level.get(plain(name), [])
        if len(outputs) > 1 and not (exact and depth == 0):
            raise UserError(
                f"{name} matches {len(outputs)} classes of the model (outputs "
                f"{', '.join(map(str, outputs))});\nname the folder after its synset, or give "
                "--class-map FILE with output numbers"
            )
        if outputs:
            return outputs
    return []


def plain(name: str) -> str:
    """Normalise a name for comparison: lower case, spaces instead of underscores."""
    return " ".join(name.casefold().replace("_", " ").split())


def named(classes: Sequence[str] | None, synonyms: Sequence[Sequence[str]] | None) -> list[str]:
    """Return one name per output."""
    return list(classes) if classes is not None else [names[0] for names in synonyms or []]


def check_number(what: str, names: Sequence[object] | None, num_outputs: int) -> None:
    """Raise UserError unless there is one entry for each output."""
    if names is not None and len(names) != num_outputs:
        raise UserError(
            f"it returns {num_outputs} scores, but there are {len(names)} {what};\n"
            "give one per output, in the order of the outputs"
        )


def check_distinct(targets: Int64[np.ndarray, " k"], data_classes: Sequence[str]) -> None:
    """Raise UserError if a class of the data has no output."""
    missing = sorted(set(range(len(data_classes))) - set(targets.tolist()))
    if missing:
        raise UserError(
            f"no output is assigned to {listed([data_classes[number] for number in missing])};\n"
            "give --class-map FILE with a line MODEL_CLASS,DATA_CLASS for every class of the data"
        )


def merged(
    logits: Float32[Tensor, "n k"], targets: Int64[Tensor, " k"], num_classes: int
) -> Float32[Tensor, "n c"]:
    """Return logits of the data's classes; probabilities of outputs of one class are summed.

    Unused outputs are dropped, as if the model had no other classes than the data.
    """
    is_used = targets >= 0
    chosen, groups = logits[:, is_used], targets[is_used].expand(len(logits), -1)
    empty = logits.new_full((len(logits), num_classes), -torch.inf)
    largest = empty.scatter_reduce(1, groups, chosen, "amax")
    shares = (chosen - largest.gather(1, groups)).exp()
    return largest + torch.zeros_like(empty).scatter_add(1, groups, shares).log()


def listed(names: Iterable[str]) -> str:
    """Join the first few names."""
    found = list(names)
    return ", ".join(found[:NUM_LISTED]) + (", ..." if len(found) > NUM_LISTED else "")
