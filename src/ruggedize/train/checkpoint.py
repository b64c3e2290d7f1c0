"""The state of a training, in one file that is whole or absent."""

import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.core.files import write_atomically
from ruggedize.train.average import Average
from ruggedize.train.objectives.objective import Objective, StatefulObjective
from ruggedize.train.optim import Patience
from ruggedize.train.safety import FirstBadStep
from ruggedize.train.stage import Facts


class Buffers:
    """A copy of all buffers as they were when it was last kept."""

    def __init__(self, model: nn.Module) -> None:
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for buffer in model.buffers():
            kinds.setdefault(buffer.dtype, []).append(buffer)
        self.kinds = [(own, [buffer.clone() for buffer in own]) for own in kinds.values()]

    def keep(self) -> None:
        """Copy the buffers: a kernel or two, whatever their number."""
        for own, copies in self.kinds:
            torch._foreach_copy_(copies, own)  # pyright: ignore

    def restore(self) -> None:
        """Restore the copy."""
        for own, copies in self.kinds:
            torch._foreach_copy_(own, copies)  # pyright: ignore


SHOWN = 8  # names of facts in a message
KEPT = 2  # the newest states; an older one serves when the newest is damaged
UNREADABLE = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
log = logging.getLogger(__name__)


RENAMED = {"rate_share": "lr_scale", "best_figure": "best_metric"}  # counters of older states


@dataclass
class Counters:
    """Where the training stands; plain numbers, saved as JSON."""

    step: int = 0  # steps done
    epoch: int = 0  # epochs done
    step_in_epoch: int = 0
    lr_scale: float = 1.0  # what a plateau has left of the learning rate
    stopped: bool = False
    best_metric: float | None = None  # of the average, once there is one; lower is better
    best_by_average: bool = False
    best_epoch: int | None = None  # None: the last one is delivered
    best_is_average: bool = False  # whether the average of that epoch is delivered
    sums: dict[str, float] = field(default_factory=dict)  # of the epoch under way
    seconds: float = 0.0  # of the epoch under way
    precision: str = ""  # that the training began with, for `auto`; older states lack it
    rows: list[dict[str, Any]] = field(default_factory=list)  # of metrics.jsonl


@dataclass
class State:
    """A training in memory: the network, what moves it, and its counters."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    average: Average | None
    plateau: Patience | None
    stopping: Patience | None
    objective: Objective
    facts: Facts  # what was asked for; the state of another training is rejected
    counters: Counters = field(default_factory=Counters)
    best: dict[str, Tensor] = field(default_factory=dict)  # weights to deliver
    damaged: list[Path] = field(default_factory=list)  # states passed over, to be removed
    buffers: Buffers = field(init=False)
    first_bad: FirstBadStep = field(init=False)

    def __post_init__(self) -> None:
        self.buffers = Buffers(self.model)
        self.first_bad = FirstBadStep(next(self.model.parameters()).device)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by a flat name."""
        named = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        for index, slots in self.optimiser.state_dict()["state"].items():
            named |= {f"optimiser/{index}/{slot}": value for slot, value in slots.items()}
        if self.average:
            named |= {f"average/{i}": value for i, value in enumerate(self.average.weights)}
        if isinstance(self.objective, StatefulObjective):
            own = self.objective.state_dict()
            named |= {f"objective/{name}": value for name, value in own.items()}
        return named | {f"best/{name}": value for name, value in self.best.items()}

    def numbers(self) -> dict[str, Any]:
        """Return everything else as JSON."""
        return {
            "facts": self.facts.to_json(),
            "counters": asdict(self.counters),
            "num_snapshots": self.average.num_snapshots if self.average else 0,
            "plateau": self.plateau.state() if self.plateau else None,
            "stopping": self.stopping.state() if self.stopping else None,
        }

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            UserError: the state is that of another training, or of another version.
        """
        try:
            self._take(tensors, numbers)
        except UNREADABLE as error:
            raise UserError(
                f"the folder holds a state that this version cannot read ({type(error).__name__});"
                "\ngive another folder with --out, or delete this one"
            ) from error

    def _take(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        self.facts.check_data(numbers["facts"])
        if names := self.facts.differing(numbers["facts"]):
            raise UserError(
                "the folder holds the state of another training, which differs in "
                f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''};\n"
                "give another folder with --out, or delete this one"
            )
        self.model.load_state_dict(part(tensors, "model/"))
        load_optimiser(self.optimiser, part(tensors, "optimiser/"))
        if self.average:
            for i, weights in enumerate(self.average.weights):
                weights.copy_(tensors[f"average/{i}"])
            self.average.num_snapshots = numbers["num_snapshots"]
        if self.plateau:
            self.plateau.load(numbers["plateau"])
        if self.stopping:
            self.stopping.load(numbers["stopping"])
        if isinstance(self.objective, StatefulObjective):
            self.objective.load_state_dict(part(tensors, "objective/"))
        counters: dict[str, Any] = numbers["counters"]
        self.counters = Counters(**{RENAMED.get(name, name): counters[name] for name in counters})
        self.best = part(tensors, "best/")


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose name begins with `prefix`, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def load_optimiser(optimiser: torch.optim.Optimizer, slots: dict[str, Tensor]) -> None:
    """Load the optimiser's slots; its groups follow from the recipe."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    content = optimiser.state_dict()
    content["state"] = {}
    for name, value in slots.items():
        index, slot = name.split("/")
        weight = weights[int(index)]
        if value.shape == weight.shape:  # fused kernels take both in the order of memory
            value = torch.empty_like(weight).copy_(value)
        content["state"].setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict(content)


def save_state(state: State, folder: Path) -> None:
    """Write the state beside the earlier ones and keep the newest two.

    The file's name ends in its own hash, so that a damaged file betrays itself.
    """
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in state.tensors().items()
    }
    data = save(tensors, {"state": json.dumps(state.numbers())})
    name = f"{state.counters.step:08d}-{hash_of(data)}.safetensors"
    write_atomically(folder / name, data)
    while state.damaged:  # they are none of the two that are kept
        state.damaged.pop().unlink(missing_ok=True)
    others = [path for path in saved_states(folder) if path.name != name]
    others.sort(key=lambda path: path.stat().st_mtime_ns)
    for old in others[: 1 - KEPT]:  # never the one just written, whatever the clock says
        old.unlink()


def load_newest_state(state: State, folder: Path) -> bool:
    """Load the newest undamaged state; false when there is none.

    A damaged one is passed over: the training goes on from an earlier one, or begins anew, and
    ends with the same weights either way.
    """
    paths = sorted(saved_states(folder), reverse=True)
    for path in paths:
        try:
            tensors, numbers = read_state(path)
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror or error});\n"
                "see that its disk is there, and give the same command again"
            ) from error
        except (SafetensorError, ValueError, RuntimeError) as error:
            log.warning("%s is damaged (%s); trying the state before it", path, error)
            state.damaged.append(path)
            continue
        state.load(tensors, numbers)
        return True
    if paths:
        log.warning("no state in %s is whole; the training begins anew", folder)
    return False


def saved_facts(folder: Path) -> Any:
    """Return the facts of the newest state as they were saved; None if there is none to read."""
    for path in sorted(saved_states(folder), reverse=True)[:1]:
        with suppress(SafetensorError, ValueError, RuntimeError):
            return read_state(path)[1].get("facts")
    return None


def saved_precision(folder: Path) -> Literal["bf16", "fp32"] | None:
    """Return the precision that the states in a folder record; None where none can be read.

    All states of a training record the same one, so a damaged one passes for a whole one.
    """
    for path in sorted(saved_states(folder), reverse=True):
        with suppress(OSError, SafetensorError, *UNREADABLE), safe_open(path, "pt") as file:
            precision = numbers_in(file.metadata())["counters"]["precision"]
            if precision in ("bf16", "fp32"):
                return precision
    return None


def saved_states(folder: Path) -> list[Path]:
    """List the states in a folder, whole or damaged."""
    return list(folder.glob(f"{'[0-9]' * 8}*-{'[0-9a-f]' * 16}.safetensors"))


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a state's tensors and numbers.

    Raises:
        SafetensorError, ValueError: its content is not what its name says.
        OSError: the disk does not give it.
    """
    if hash_of(path.read_bytes()) != path.stem.split("-")[1]:
        raise SafetensorError("its content does not match the hash in its name")
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, numbers_in(file.metadata())


def hash_of(data: bytes) -> str:
    """Return the part of a file's SHA-256 that its name carries."""
    return hashlib.sha256(data).hexdigest()[:16]


def numbers_in(metadata: dict[str, str] | None) -> dict[str, Any]:
    """Read a state's numbers out of its file's metadata; `ValueError` where there are none."""
    numbers = json.loads((metadata or {}).get("state", ""))
    if not isinstance(numbers, dict):
        raise ValueError(f"the numbers of a state are a table, got {type(numbers).__name__}")
    return numbers
