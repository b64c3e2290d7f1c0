"""Batched inference, with smaller batches on out-of-memory."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ruggedize.core.errors import UserError
from ruggedize.core.memory import is_out_of_memory
from ruggedize.kernels.types import Views

MAX_IMAGES = 500  # per batch; larger batches are not faster
MAX_PIXELS = MAX_IMAGES * 72**2  # per batch; takes far less memory than a training step


def inference_batch_size(input_size: int) -> int:
    """Return the batch size for inference on square images with this side (in pixels)."""
    return max(1, min(MAX_IMAGES, MAX_PIXELS // input_size**2))


@torch.no_grad()
def logits_of(network: Callable[[Views], Tensor], views: Views) -> Float[Tensor, "n k"]:
    """Return a network's logits, halving the batch on out-of-memory.

    The network must be in eval mode, so that logits do not depend on the batch.

    Raises:
        UserError: a single view does not fit into memory.
    """
    try:
        return network(views)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(views) == 1:
            raise out_of_memory(views.device) from None
    if views.is_cuda:
        torch.cuda.empty_cache()
    return torch.cat([logits_of(network, half) for half in views.tensor_split(2)])


def out_of_memory(device: torch.device) -> UserError:
    """Build the error for a device without enough memory for a single image."""
    on_cpu = (
        ", or use the CPU: CUDA_VISIBLE_DEVICES= ruggedize ..." if device.type == "cuda" else ""
    )
    return UserError(
        f"{device} is out of memory for one image;\nstop other programs that use it{on_cpu}"
    )
