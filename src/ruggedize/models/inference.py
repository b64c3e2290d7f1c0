"""How many images a network is asked about at once, and fewer where memory is short."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ruggedize.core.errors import UserError
from ruggedize.core.memory import is_out_of_memory
from ruggedize.kernels.types import Views

MOST_IMAGES = 500  # in a batch: more gain nothing
MOST_PIXELS = MOST_IMAGES * 72**2  # of a batch: what a training's own batches take is far more


def inference_batch_size(input_size: int) -> int:
    """Return the batch size for inference on square images with this side in pixels."""
    return max(1, min(MOST_IMAGES, MOST_PIXELS // input_size**2))


@torch.no_grad()
def logits_of(network: Callable[[Views], Tensor], views: Views) -> Float[Tensor, "n k"]:
    """Return a network's logits, halving the batch on out-of-memory.

    The network is in eval mode: no answer depends on the other views.

    Raises:
        UserError: there is no memory for a single view.
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
    """Report that a device has no room for the work at hand."""
    aside = (
        ", or leave it aside: CUDA_VISIBLE_DEVICES= ruggedize ..." if device.type == "cuda" else ""
    )
    return UserError(f"{device} is out of memory for one image;\nend what else uses it{aside}")
