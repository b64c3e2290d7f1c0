"""Worker of the distributed tests: train a tiny network and record its inputs and results."""

import dataclasses
import hashlib
import json
import os
import signal
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ruggedize.models import Classifier
from ruggedize.models.batch_norm import replace_batch_norm
from ruggedize.train.loop import fit
from ruggedize.train.objectives.objective import Objective, StatefulObjective
from ruggedize.train.stage import Stage
from tests.tiny_stages import CLASSES, NUM_IMAGES, Altered, three_colours, tiny_stage

BATCH_SIZE = 15  # neither 15 nor the last batch of 4 divides evenly between two processes
NUM_VALIDATION = 31  # nor does this
Checksums = list[tuple[int, int]]  # of each image: index and checksum
OPTIONS = {"epochs": 2, "batch_size": BATCH_SIZE, "averaging": "ema", "clip_norm": 1.0}


class FrozenBatchNorm(nn.BatchNorm2d):
    """Batch norm that always uses its running statistics, which stay as they are."""

    def train(self, mode: bool = True) -> "FrozenBatchNorm":
        return super().train(False)


def without_batch_norm(stage: Stage) -> Stage:
    """Replace the network by one without batch norm: the images of a batch stay independent."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 49, len(CLASSES))
    )
    sizes = {"image_size": 16, "input_size": 16}
    model = Classifier(network, architecture=stage.options.model, classes=CLASSES, **sizes)
    return dataclasses.replace(stage, model=model)


def job_of(folder: Path, network: str, num_images: int, options: dict[str, Any]) -> Stage:
    """Return the training of a net without batch norm (float32), with frozen one, or as it is."""
    stage = tiny_stage(folder, **(OPTIONS | options))
    stage = dataclasses.replace(
        stage,
        sources=dict(stage.sources) | {"labelled": three_colours(num_images, 0)},
        validation=three_colours(NUM_VALIDATION, 1),
    )
    if network == "without":
        return without_batch_norm(stage)
    if network == "frozen":
        replace_batch_norm(stage.model, lambda layer: FrozenBatchNorm(layer.num_features).eval())
    stage.model.double()  # a rounding that tips one rectifier or maximum changes all that follows
    return stage


def fingerprints(index: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> Checksums:
    """Return the index and a checksum of the views of every image of a source."""
    named = {key: value for key, value in tensors.items() if "labels" not in key}
    views = zip(*named.values(), strict=True)  # of each image
    sums = [zlib.crc32(b"".join(v.numpy().tobytes() for v in each)) for each in views]
    return list(zip(index.tolist(), sums, strict=True))


@dataclasses.dataclass
class Notes:
    """Index and checksum of the views of every image, of the latest batch and of every step."""

    latest: dict[str, Checksums] = dataclasses.field(
        default_factory=lambda: {"labelled": [], "unlabelled": []}
    )
    seen: list[Checksums] = dataclasses.field(default_factory=list)
    unlabelled: list[Checksums] = dataclasses.field(default_factory=list)

    def end_step(self) -> None:
        self.seen.append(self.latest["labelled"])
        self.unlabelled.append(self.latest["unlabelled"])


class Noting(Altered):
    """An objective whose batches are noted."""

    def __init__(self, inner: Objective, notes: Notes) -> None:
        super().__init__(inner, lambda terms, batch: terms)
        self.notes = notes

    def batch(self, images, epoch, step):
        batch = super().batch(images, epoch, step)
        for source, part in images.items():
            self.notes.latest[source] = fingerprints(part.index, batch[source])
        return batch


class NotingState(Noting):
    """The same of an objective with a state."""

    def after_step(self, model, step):
        self.inner.after_step(model, step)

    def state_dict(self):
        return self.inner.state_dict()

    def load_state_dict(self, state):
        self.inner.load_state_dict(state)


def main(
    folder: Path,
    network: str = "without",
    dies: str = "",
    num_images: int = NUM_IMAGES,
    **options: Any,
) -> None:
    """Train; `dies` names a process and the step after which it kills itself: "1 at 3"."""
    stage = job_of(folder, network, num_images, options)
    rank = stage.accelerator.process_index
    victim, moment = (int(part) for part in (dies or "-1 at 0").split(" at "))
    notes = Notes()
    gradients: dict[str, torch.Tensor] = {}

    def progress(task: str, done: int, total: int) -> None:
        if not task.startswith("compute"):
            notes.end_step()
        if rank == victim and len(notes.seen) == moment:
            folder.with_name(f"{folder.name}-died").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def note_gradients(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        if not gradients:
            names = [name for name, _ in stage.model.named_parameters()]
            weights = dict(zip(names, stage.model.parameters(), strict=True))
            gradients.update(
                {
                    name: weights[name].grad.clone(memory_format=torch.contiguous_format)
                    for name in names
                }
            )

    handle = register_optimizer_step_pre_hook(note_gradients)
    try:
        noting = NotingState if isinstance(stage.objective, StatefulObjective) else Noting
        objective = noting(stage.objective, notes)
        fit(dataclasses.replace(stage, objective=objective, progress=progress))
    finally:
        handle.remove()
    digest = hashlib.sha256()
    for value in stage.model.state_dict().values():
        digest.update(value.numpy().tobytes())
    found = {"seen": notes.seen, "unlabelled": notes.unlabelled, "delivered": digest.hexdigest()}
    folder.with_name(f"{folder.name}-notes-{rank}.json").write_text(json.dumps(found))
    save_file(gradients, folder.with_name(f"{folder.name}-gradients-{rank}.safetensors"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for folder, wish in json.loads(sys.argv[1]).items():
        main(Path(folder), **wish)
