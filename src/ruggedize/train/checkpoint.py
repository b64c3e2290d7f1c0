"""The state of a training, saved atomically to one file."""

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
from ruggedize.core.files import sha256, write_atomically
from ruggedize.core.reading import check_regular
from ruggedize.train.average import Average
from ruggedize.train.fine_tuning.probe import body_weights
from ruggedize.train.objectives.objective import Objective, StatefulObjective
from ruggedize.train.optim import Patience
from ruggedize.train.safety import FirstBadStep
from ruggedize.train.stage import Facts


class Buffers:
    """A copy of a model's buffers, to undo a step whose loss is non-finite."""

    def __init__(self, model: nn.Module) -> None:
        groups: dict[torch.dtype, list[Tensor]] = {}
        for buffer in model.buffers():
            groups.setdefault(buffer.dtype, []).append(buffer)
        self.groups = [(group, [buffer.clone() for buffer in group]) for group in groups.values()]

    def keep(self) -> None:
        """Copy the buffers; one kernel per dtype."""
        for buffers, copies in self.groups:
            torch._foreach_copy_(copies, buffers)  # pyright: ignore

    def restore(self) -> None:
        """Write the copy back into the buffers."""
        for buffers, copies in self.groups:
            torch._foreach_copy_(buffers, copies)  # pyright: ignore


SHOWN = 8  # names of facts in an error message
HASH_LENGTH = 16  # digits of the SHA-256 in the name of a state
NUM_KEPT = 2  # states; the older one is a backup in case the newest is damaged
UNREADABLE = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
log = logging.getLogger(__name__)


RENAMED = {"rate_share": "lr_scale", "best_figure": "best_metric"}  # names in older states


@dataclass
class Counters:
    """Progress of the training; plain numbers, saved as JSON."""

    step: int = 0  # steps done
    epoch: int = 0  # epochs done
    step_in_epoch: int = 0
    lr_scale: float = 1.0  # factor on the learning rate, lowered by a plateau
    stopped: bool = False
    best_metric: float | None = None  # lower is better
    best_error: float = 0.0  # standard error of best_metric
    best_by_average: bool = False  # whether best_metric is that of an average
    best_epoch: int | None = None  # None: the last epoch is delivered
    best_is_average: bool = False  # whether that epoch's average is delivered, or its raw weights
    sums: dict[str, float] = field(default_factory=dict)  # of the current epoch
    seconds: float = 0.0  # of the current epoch
    precision: str = ""  # resolved when the training started; missing in older states
    rows: list[dict[str, Any]] = field(default_factory=list)  # of metrics.jsonl


@dataclass
class State:
    """A training in memory: network, optimiser, averages, objective and counters."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    average: Average | None
    plateau: Patience | None
    stopping: Patience | None
    objective: Objective
    facts: Facts  # saved with the state; a state with other facts is rejected
    counters: Counters = field(default_factory=Counters)
    best: dict[str, Tensor] = field(default_factory=dict)  # weights to deliver
    damaged: list[Path] = field(default_factory=list)  # state files to remove at the next save
    buffers: Buffers = field(init=False)
    first_bad: FirstBadStep = field(init=False)
    body: list[nn.Parameter] = field(init=False)  # trained after the linear probe, if there is one

    def __post_init__(self) -> None:
        self.buffers = Buffers(self.model)
        self.body = body_weights(self.model) if self.facts.options.probe_epochs else []
        self.first_bad = FirstBadStep(next(self.model.parameters()).device)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors under flat names."""
        named = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        for index, slots in self.optimiser.state_dict()["state"].items():
            named |= {f"optimiser/{index}/{slot}": value for slot, value in slots.items()}
        if self.average:
            named |= {f"average/{i}": value for i, value in enumerate(self.average.weights)}
        if isinstance(self.objective, StatefulObjective):
            objective = self.objective.state_dict()
            named |= {f"objective/{name}": value for name, value in objective.items()}
        return named | {f"best/{name}": value for name, value in self.best.items()}

    def numbers(self) -> dict[str, Any]:
        """Return everything that is not a tensor, as JSON."""
        return {
            "facts": self.facts.to_json(),
            "counters": asdict(self.counters),
            "num_snapshots": self.average.num_snapshots if self.average else 0,
            "plateau": self.plateau.state() if self.plateau else None,
            "stopping": self.stopping.state() if self.stopping else None,
        }

    def load(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Restore a saved state.

        Raises:
            UserError: the state belongs to another training, or this version cannot read it.
        """
        try:
            self._restore(tensors, numbers)
        except UNREADABLE as error:
            raise UserError(
                f"the folder holds a state that this version cannot read ({type(error).__name__});"
                "\nchoose another folder with --out, or delete this one"
            ) from error

    def _restore(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        self.facts.check_data(numbers["facts"])
        if names := self.facts.differing(numbers["facts"]):
            raise UserError(
                "the folder holds the state of another training, which differs in "
                f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''};\n"
                "choose another folder with --out, or delete this one"
            )
        self.model.load_state_dict(with_prefix(tensors, "model/"))
        load_optimiser(self.optimiser, with_prefix(tensors, "optimiser/"))
        if self.average:
            for i, weights in enumerate(self.average.weights):
                weights.copy_(tensors[f"average/{i}"])
            self.average.num_snapshots = numbers["num_snapshots"]
        if self.plateau:
            self.plateau.load(numbers["plateau"])
        if self.stopping:
            self.stopping.load(numbers["stopping"])
        if isinstance(self.objective, StatefulObjective):
            self.objective.load_state_dict(with_prefix(tensors, "objective/"))
        counters: dict[str, Any] = numbers["counters"]
        self.counters = Counters(**{RENAMED.get(name, name): counters[name] for name in counters})
        self.best = with_prefix(tensors, "best/")


def with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix`, with the prefix removed."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def load_optimiser(optimiser: torch.optim.Optimizer, slots: dict[str, Tensor]) -> None:
    """Load the optimiser's state tensors; its parameter groups come from the recipe."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    content = optimiser.state_dict()
    content["state"] = {}
    for name, value in slots.items():
        index, slot = name.split("/")
        weight = weights[int(index)]
        if value.shape == weight.shape:  # fused kernels need the same memory layout
            value = torch.empty_like(weight).copy_(value)
        content["state"].setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict(content)


def save_state(state: State, folder: Path) -> None:
    """Write the state to a new file and keep the newest two.

    The file's name ends in the hash of its content, so that damage is detected.
    """
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in state.tensors().items()
    }
    data = save(tensors, {"state": json.dumps(state.numbers())})
    name = f"{state.counters.step:08d}-{hash_of(data)}.safetensors"
    write_atomically(folder / name, data)
    while state.damaged:  # damaged files do not count as kept states
        state.damaged.pop().unlink(missing_ok=True)
    others = [path for path in saved_states(folder) if path.name != name]
    others.sort(key=lambda path: path.stat().st_mtime_ns)
    for old in others[: 1 - NUM_KEPT]:  # never the one just written, even if the clock is wrong
        old.unlink()


def load_newest_state(state: State, folder: Path) -> bool:
    """Load the newest undamaged state; return False if there is none.

    Damaged states are skipped: the training resumes from an earlier state, or starts over, and
    ends with the same weights either way.
    """
    paths = saved_states(folder)
    for path in paths:
        try:
            tensors, numbers = read_state(path)
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror or error});\n"
                "check that its disk is mounted, then repeat the command"
            ) from error
        except (SafetensorError, ValueError, RuntimeError) as error:
            log.warning("%s is damaged (%s); trying the previous state", path, error)
            state.damaged.append(path)
            continue
        state.load(tensors, numbers)
        return True
    if paths:
        log.warning("all states in %s are damaged; the training starts over", folder)
    return False


def saved_facts(folder: Path) -> Any:
    """Return the facts saved in the newest state; None if there is no readable state."""
    for path in saved_states(folder)[:1]:
        with suppress(SafetensorError, ValueError, RuntimeError):
            return read_state(path)[1].get("facts")
    return None


def saved_precision(folder: Path) -> Literal["bf16", "fp32"] | None:
    """Return the precision recorded in a folder's states; None if no state is readable.

    All states of a training record the same precision, so their hashes are not checked.
    """
    for path in saved_states(folder):
        with suppress(OSError, UserError, SafetensorError, *UNREADABLE):
            check_regular(path)
            with safe_open(path, "pt") as file:
                precision = numbers_in(file.metadata())["counters"]["precision"]
            if precision in ("bf16", "fp32"):
                return precision
    return None


def saved_states(folder: Path) -> list[Path]:
    """List the state files in a folder, newest first, damaged ones included.

    Two states may be of one step, before and after its epoch's validation.
    """
    paths = folder.glob(f"{'[0-9]' * 8}*-{'[0-9a-f]' * 16}.safetensors")
    return sorted(paths, key=lambda path: (step_of(path), path.stat().st_mtime_ns), reverse=True)


def step_of(path: Path) -> int:
    """Return the step of a state file."""
    return int(path.name.partition("-")[0])


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a state's tensors and numbers.

    Raises:
        SafetensorError, ValueError: the file is damaged.
        OSError: the file cannot be read.
    """
    if sha256(path)[:HASH_LENGTH] != path.stem.split("-")[1]:
        raise SafetensorError("its content does not match the hash in its name")
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, numbers_in(file.metadata())


def hash_of(data: bytes) -> str:
    """Return the part of the SHA-256 that is used in the file name."""
    return hashlib.sha256(data).hexdigest()[:HASH_LENGTH]


def numbers_in(metadata: dict[str, str] | None) -> dict[str, Any]:
    """Parse a state's numbers from its file's metadata; raise ValueError if they are missing."""
    numbers = json.loads((metadata or {}).get("state", ""))
    if not isinstance(numbers, dict):
        raise ValueError(f"a state's numbers must be a JSON object, got {type(numbers).__name__}")
    return numbers
