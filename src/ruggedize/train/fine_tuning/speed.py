"""The choice of a network by measured speed: timed training steps of candidates."""

import logging
import time
from collections.abc import Callable

import torch
from accelerate.utils import broadcast
from torch.nn import functional

from ruggedize.core.memory import is_out_of_memory
from ruggedize.models import TimmOptions, autocast_for, create_model, resolved_precision
from ruggedize.train.distributed import default_accelerator
from ruggedize.train.fine_tuning.workload import Workload

MOST_ON_CPU = 16  # images of a timed step on a CPU, which is not faster with more
MIN_STEPS, MIN_SECONDS = 2, 1.0  # timed for each candidate, after a warm-up
log = logging.getLogger(__name__)


def measured_choice(workload: Workload) -> str:
    """Return the largest candidate whose training fits into the budget; the first if none does.

    Steps on random images are timed, from the first candidate to the first that takes too long.
    Reading files and validation are not included. The first process decides for all.
    """
    accelerator = default_accelerator()
    chosen = 0
    if accelerator.is_main_process:
        share = workload.num_images / accelerator.num_processes
        seconds = timed_until_too_slow(
            workload, share, lambda name: seconds_per_image(name, workload, accelerator.device)
        )
        fitting = [number for number, time in enumerate(seconds) if time <= 3600 * workload.hours]
        chosen = max(fitting, default=0)
        log_choice(workload, seconds, chosen)
    decision = torch.tensor([chosen], device=accelerator.device)
    return workload.candidates[int(broadcast(decision, from_process=0))]  # pyright: ignore


def timed_until_too_slow(
    workload: Workload, num_images: float, measure: Callable[[str], float]
) -> list[float]:
    """Return the seconds that each candidate's training takes, up to the first beyond the budget.

    Args:
        workload: candidates and budget.
        num_images: images that a process trains on, over all epochs.
        measure: returns the seconds for one image.
    """
    seconds: list[float] = []
    for name in workload.candidates:
        seconds.append(num_images * measure(name))
        if seconds[-1] > 3600 * workload.hours:
            break
    return seconds


def seconds_per_image(name: str, workload: Workload, device: torch.device) -> float:
    """Return the seconds of a training step per image; infinite if it runs out of memory."""
    most = MOST_ON_CPU if device.type == "cpu" else workload.batch_size
    num_images = max(2, min(most, workload.batch_size))
    try:
        step = training_step(name, workload, num_images, device)
        step()  # allocation and choice of kernels
        seconds: list[float] = []
        while len(seconds) < MIN_STEPS or sum(seconds) < MIN_SECONDS:
            started = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - started)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return float("inf")
    return min(seconds) / num_images


def training_step(
    name: str, workload: Workload, num_images: int, device: torch.device
) -> Callable[[], None]:
    """Return a function that runs one step of a network with random weights, and waits for it."""
    classes = tuple(map(str, range(workload.num_classes)))
    side = workload.input_size
    model = create_model(TimmOptions(architecture=name), classes, side, side, seed=0)
    model.to(device=device, memory_format=torch.channels_last)  # pyright: ignore
    autocast = autocast_for(resolved_precision("auto", device), device)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num_images, 3, side, side), generator=generator)
    images = images.to(torch.uint8).to(device)
    labels = torch.zeros(num_images, dtype=torch.long, device=device)

    def step() -> None:
        with torch.inference_mode(False), torch.enable_grad():
            with autocast:
                loss = functional.cross_entropy(model.train()(images).float(), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        loss.item()  # waits for the device

    return step


def log_choice(workload: Workload, seconds: list[float], chosen: int) -> None:
    """Log the choice, the measured times, and what they do not include."""
    times = ", ".join(
        f"{name} {time / 3600:.2g} h"
        for name, time in zip(workload.candidates, seconds, strict=False)
    )
    log.info(
        "network: timm/%s, chosen for training_hours = %g by its training speed alone (%s; "
        "reading images and validation not included). Which network is most accurate on your data "
        "is not known beforehand",
        *(workload.candidates[chosen], workload.hours, times),
    )
    if seconds[chosen] > 3600 * workload.hours:
        log.warning(
            "even timm/%s is estimated to take longer than training_hours = %g; lower the epochs "
            "or views.crop, or use a GPU",
            *(workload.candidates[chosen], workload.hours),
        )
