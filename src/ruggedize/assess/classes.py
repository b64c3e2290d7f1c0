"""Which class of the data each output of a model stands for."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from ruggedize.core.errors import UserError

UNUSED = -1  # the target of an output that stands for no class of the data
NUM_LISTED = 5  # names in a message


def output_targets(
    num_outputs: int,
    data_classes: Sequence[str],
    classes: Sequence[str] | None,
    synonyms: Sequence[Sequence[str]] | None = None,
    class_map: Mapping[str, str] | None = None,
) -> Int64[np.ndarray, " k"]:
    """Return the number of the data's class that each output stands for, or UNUSED.

    Args:
        num_outputs: how many scores the model returns.
        data_classes: the classes of the data.
        classes: the names of the outputs, if they are known.
        synonyms: other names of each output, the most exact first; they are guesses, and outputs
            of which none fits stand for the data's classes in order.
        class_map: data class by model class, which goes before all else.

    Raises:
        UserError: a class of the data has no output, or more than one where that is unclear.
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
            f"it knows {num_outputs} classes ({listed(named(classes, synonyms))}), "
            f"the data has {len(data_classes)} ({listed(data_classes)}); no output for "
            f"{listed(missing)};\ngive --class-map FILE with lines MODEL_CLASS,DATA_CLASS, or "
            "data whose folders have the names of the model's classes"
        )
    check_distinct(targets, data_classes)
    return targets


def in_order(num_outputs: int, data_classes: Sequence[str]) -> Int64[np.ndarray, " k"]:
    """Return the data's classes in their own order."""
    if num_outputs != len(data_classes):
        raise UserError(
            f"it returns {num_outputs} scores and the data has {len(data_classes)} classes "
            f"({listed(data_classes)});\ngive --classes FILE with the name of each output on a "
            "line of its own, or --class-map FILE with lines MODEL_CLASS,DATA_CLASS"
        )
    return np.arange(num_outputs)


def mapped(
    num_outputs: int,
    data_classes: Sequence[str],
    levels: list[dict[str, list[int]]],
    class_map: Mapping[str, str],
) -> Int64[np.ndarray, " k"]:
    """Return what a map says of each output."""
    numbers = {str(number): [number] for number in range(num_outputs)}
    places = {name: number for number, name in enumerate(data_classes)}
    targets = np.full(num_outputs, UNUSED, np.int64)
    for name, data_class in class_map.items():
        outputs = outputs_named(name, [*levels, numbers], exact=False)
        if not outputs:
            raise UserError(
                f"the class map names {name}, which is no class of the model;\ngive the names of "
                f"its classes, or the numbers of its outputs, 0 to {num_outputs - 1}"
            )
        if data_class not in places:
            raise UserError(
                f"the class map names {data_class}, which is no class of the data;\n"
                f"the data has {listed(data_classes)}"
            )
        targets[outputs] = places[data_class]
    check_distinct(targets, data_classes)
    return targets


def name_levels(
    classes: Sequence[str] | None, synonyms: Sequence[Sequence[str]] | None
) -> list[dict[str, list[int]]]:
    """Return the outputs by name: first the classes, then the first synonyms, then the others."""
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
    """Return the outputs of this name at the first level that has it.

    Raises:
        UserError: there are several that merely share a synonym.
    """
    for depth, level in enumerate(levels):
        outputs = level.get(plain(name), [])
        if len(outputs) > 1 and not (exact and depth == 0):
            raise UserError(
                f"{name} is the name of {len(outputs)} classes of the model (outputs "
                f"{', '.join(map(str, outputs))});\nname the folder by its synset, or give "
                "--class-map FILE with the numbers of outputs"
            )
        if outputs:
            return outputs
    return []


def plain(name: str) -> str:
    """Return a name as it is compared: small letters, and spaces for underscores."""
    return " ".join(name.casefold().replace("_", " ").split())


def named(classes: Sequence[str] | None, synonyms: Sequence[Sequence[str]] | None) -> list[str]:
    """Return one name for each output."""
    return list(classes) if classes is not None else [names[0] for names in synonyms or []]


def check_number(what: str, names: Sequence[object] | None, num_outputs: int) -> None:
    """Raise UserError unless there is one entry for each output."""
    if names is not None and len(names) != num_outputs:
        raise UserError(
            f"it returns {num_outputs} scores, and there are {len(names)} {what};\n"
            "give one for each output, in their order"
        )


def check_distinct(targets: Int64[np.ndarray, " k"], data_classes: Sequence[str]) -> None:
    """Raise UserError if a class of the data is left without an output."""
    missing = sorted(set(range(len(data_classes))) - set(targets.tolist()))
    if missing:
        raise UserError(
            f"no output stands for {listed([data_classes[number] for number in missing])};\n"
            "give --class-map FILE with lines MODEL_CLASS,DATA_CLASS that names every class of "
            "the data"
        )


def merged(
    logits: Float32[Tensor, "n k"], targets: Int64[Tensor, " k"], num_classes: int
) -> Float32[Tensor, "n c"]:
    """Return logits of the data's classes: those of outputs that share one add up.

    Unused outputs are left out, as if the model knew no other classes than the data.
    """
    is_used = targets >= 0
    chosen, groups = logits[:, is_used], targets[is_used].expand(len(logits), -1)
    empty = logits.new_full((len(logits), num_classes), -torch.inf)
    largest = empty.scatter_reduce(1, groups, chosen, "amax")
    shares = (chosen - largest.gather(1, groups)).exp()
    return largest + torch.zeros_like(empty).scatter_add(1, groups, shares).log()


def listed(names: Iterable[str]) -> str:
    """Write the first few names."""
    found = list(names)
    return ", ".join(found[:NUM_LISTED]) + (", ..." if len(found) > NUM_LISTED else "")
