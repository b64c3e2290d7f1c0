"""Where a student's step goes, phase by phase, beside the two floors: arithmetic and bytes.

The recipe's own training runs; its parts are only watched. The floors are what the machine does
in the same minute at its best: a large matrix product in the training's precision, a large copy.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import optimizer as optimisers
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.compare import compare
from benchmarks.pictures import pictures
from benchmarks.record import Content
from ruggedize import load_recipe, train_student
from ruggedize.core.environment import environment
from ruggedize.data import ImageSet, Splits
from ruggedize.models import Classifier, create_model, resolved_precision, save_model
from ruggedize.train import StudentOptions
from ruggedize.train.average import Average
from ruggedize.views import ViewMaker

RECIPES = ("keras-example", "cifar10-cpu")
WARMUP, STEPS = 3, 5  # a round
OPTIMISER_BYTES = {"adam": 28, "adamw": 28, "sgd": 20}  # float32 read and written, a weight
CLASSES = tuple("abcdefghij")
CPU = torch.device("cpu")
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
PHASES = ("views", "teacher forward", "student forward", "loss and backward", "optimiser")
OWN = ("averaging", "the loop itself")


class Watch:
    """Adds up the time of each phase of a step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = [{}]
        self.opened: dict[str, float] = {}
        self.last_step = time.perf_counter()

    def begin(self, phase: str) -> None:
        """Begin a phase."""
        self.opened[phase] = time.perf_counter()

    def end(self, phase: str) -> None:
        """End a phase that was begun."""
        if phase in self.opened:
            spent = time.perf_counter() - self.opened.pop(phase)
            self.steps[-1][phase] = self.steps[-1].get(phase, 0.0) + spent

    def step_done(self, title: str, done: int, total: int) -> None:
        """Close a step; what no phase claims is the loop's own."""
        now = time.perf_counter()
        step = self.steps[-1]
        step["the loop itself"] = now - self.last_step - sum(step.values())
        step["whole"] = now - self.last_step
        self.steps.append({})
        self.last_step = now

    def medians(self) -> dict[str, float]:
        """Return the median seconds of each phase over the steps after the warm-up."""
        counted = self.steps[WARMUP:-1]
        return {
            phase: statistics.median(step.get(phase, 0.0) for step in counted)
            for phase in (*PHASES, *OWN, "whole")
        }


def measure(rounds: int) -> dict[str, Content]:
    """Watch the recipes' students in turn; the medians are over the steps of all rounds."""
    content: Content = {"environment": environment(), "rounds": rounds}
    content |= {"peers": {}, "images_per_second": {}, "ratios": {}, "recipes": {}}
    content["threads"] = torch.get_num_threads()
    for name in RECIPES:
        content["recipes"][name] = measured(name, rounds)
    return {"phases": content}


def measured(name: str, rounds: int) -> dict[str, Any]:
    """Watch a recipe's student for some steps a round."""
    recipe = load_recipe(name)
    precision = resolved_precision(recipe.student.precision, CPU)
    watch, size = Watch(), recipe.views.input_size(32)
    batch = recipe.student.batch_size
    images = pictures(32, 1_000)[torch.arange(batch * (WARMUP + STEPS * rounds)) % 1_000]
    few = image_set(images[:16])
    model = create_model(recipe.student.model, CLASSES, 32, size, 1, images)
    with tempfile.TemporaryDirectory() as folder, watched(watch):
        save_model(model, Path(folder) / "teacher.safetensors")
        options = StudentOptions.model_validate(recipe.student.model_dump() | {"epochs": 1})
        train_student(
            Splits(image_set(images), few, few),
            recipe.views,
            options,
            Path(folder) / "teacher.safetensors",
            Path(folder) / "student",
            progress=watch.step_done,
        )
    found = watch.medians()
    return (
        described(found, batch)
        | floors(model, batch, size, precision, recipe.student.optimiser.kind)
        | {"batch size": batch}
    )


def described(seconds: dict[str, float], batch: int) -> dict[str, Any]:
    """Return each phase's milliseconds and share of the step."""
    whole = seconds["whole"]
    ours = sum(seconds[phase] for phase in ("views", *OWN))
    return {
        "images_per_second": round(batch / whole, 1),
        "milliseconds": {phase: round(1e3 * spent, 2) for phase, spent in seconds.items()},
        "share": {phase: round(spent / whole, 4) for phase, spent in seconds.items()},
        "share of views, averaging and loop": round(ours / whole, 4),
    }


def floors(
    model: Classifier, batch: int, size: int, precision: str, optimiser: str
) -> dict[str, Any]:
    """Return the least time that arithmetic and memory take for teacher, student and optimiser."""
    views = torch.zeros(batch, 3, size, size, dtype=torch.uint8)
    moved: list[int] = []
    width = torch.finfo(DTYPES[precision]).bits // 8

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        moved.append(width * (inputs[0].numel() + output.numel()))

    layers = [m for m in model.network.modules() if not list(m.children())]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(views)
    for hook in hooks:
        hook.remove()
    weights = sum(parameter.numel() for parameter in model.parameters())
    arithmetic = 4 * counter.get_total_flops()  # the teacher forward, the student and twice back
    traffic = 4 * sum(moved) + OPTIMISER_BYTES[optimiser] * weights
    peak, bandwidth = matrix_product_rate(DTYPES[precision]), copy_rate()
    return {
        "precision": precision,
        "floating point operations": arithmetic,
        "bytes moved at least": traffic,
        "matrix product GFLOP/s": round(peak / 1e9),
        "copy GB/s": round(bandwidth / 1e9, 1),
        "floor ms": {
            "arithmetic": round(1e3 * arithmetic / peak, 1),
            "bytes": round(1e3 * traffic / bandwidth, 1),
        },
    }


def matrix_product_rate(dtype: torch.dtype) -> float:
    """Return the operations a second of one large matrix product."""
    side = 2_048
    left, right = torch.randn(2, side, side).to(dtype).unbind()
    return 2 * side**3 / fastest(lambda: left @ right)


def copy_rate() -> float:
    """Return the bytes a second, read and written, of one large copy."""
    source = torch.zeros(1 << 26)
    target = torch.empty_like(source)
    return 2 * source.nbytes / fastest(lambda: target.copy_(source))


def fastest(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of ten goes."""
    seconds = []
    for _ in range(10):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Time the package's own parts where they are called."""
    with ExitStack() as stack:
        for owner, method, phase in (
            (ViewMaker, "pair", "views"),
            (Average, "update", "averaging"),
        ):
            stack.enter_context(patch.object(owner, method, timed(watch, phase, owner, method)))
        stack.enter_context(patch.object(Accelerator, "backward", ending_backward(watch)))
        handles = [
            nn.modules.module.register_module_forward_pre_hook(
                lambda module, inputs: watch.begin(forward_of(module))
            ),
            nn.modules.module.register_module_forward_hook(
                lambda module, inputs, output: end_forward(watch, module)
            ),
            optimisers.register_optimizer_step_pre_hook(lambda *_: watch.begin("optimiser")),
            optimisers.register_optimizer_step_post_hook(lambda *_: watch.end("optimiser")),
        ]
        for handle in handles:
            stack.callback(handle.remove)
        yield


def timed(watch: Watch, phase: str, owner: type, method: str) -> Callable[..., Any]:
    """Wrap a method so that its time is added up."""
    original = getattr(owner, method)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        watch.begin(phase)
        result = original(*args, **kwargs)
        watch.end(phase)
        return result

    return wrapped


def ending_backward(watch: Watch) -> Callable[..., None]:
    """Wrap the backward pass so that its end is noted."""
    original = Accelerator.backward

    def backward(accelerator: Accelerator, loss: Tensor, **more: Any) -> None:
        original(accelerator, loss, **more)
        watch.end("loss and backward")

    return backward


def forward_of(module: nn.Module) -> str:
    """Name the phase that a module's forward belongs to: whole classifiers alone count."""
    if not isinstance(module, Classifier):
        return "inside"
    return "student forward" if module.training else "teacher forward"


def end_forward(watch: Watch, module: nn.Module) -> None:
    """End a classifier's forward; after the later one of the two, loss and backward begin."""
    if isinstance(module, Classifier):
        watch.end(forward_of(module))
        watch.begin("loss and backward")


def image_set(images: Tensor) -> ImageSet:
    """Return images whose labels take turns."""
    index = torch.arange(len(images))
    return ImageSet(images, index % len(CLASSES), CLASSES, index)


if __name__ == "__main__":
    compare({"phases": measure})
