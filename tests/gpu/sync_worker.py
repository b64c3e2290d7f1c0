"""One of two processes whose batch norm is synchronised; both may share one accelerator."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn

from ruggedize.models.batch_norm import SynchronisedBatchNorm, replace_batch_norm
from ruggedize.models.nets.airbench import ShiftingBatchNorm

NUM_IMAGES = 7  # four for the first process, three for the second


def network() -> nn.Module:
    """Make both kinds of batch norm, behind convolutions that depend on no random state."""
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, bias=False)
    )
    layers.append(ShiftingBatchNorm(4, momentum=0.4))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in layers.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return layers


def images() -> torch.Tensor:
    """Return images whose brightness differs, so that it matters who is normalised with whom."""
    generator = torch.Generator().manual_seed(2)
    brightness = torch.linspace(0.5, 4.0, NUM_IMAGES)[:, None, None, None]
    return torch.randn(NUM_IMAGES, 3, 8, 8, generator=generator) * brightness + brightness


def stepped(layers: nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    """Run one step forward and backward; return output, gradients and statistics."""
    output = layers(batch)
    output.pow(3).sum().backward()
    found = {"output": output.detach()}
    found |= {f"gradient {name}": p.grad for name, p in layers.named_parameters()}
    return found | {f"buffer {name}": value for name, value in layers.named_buffers()}


def main(out: Path) -> None:
    """Train on this process's share of the images; gradients are summed over both."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    device = torch.device("cuda", rank % torch.cuda.device_count())
    layers = network().to(device=device, memory_format=torch.channels_last)
    replace_batch_norm(layers, SynchronisedBatchNorm)
    found = stepped(layers, images().tensor_split(2)[rank].to(device))
    found = {name: value.cpu().contiguous() for name, value in found.items()}
    for name, value in found.items():
        if name.startswith("gradient"):
            dist.all_reduce(value)
    save_file(found, out / f"{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.backends.cudnn.allow_tf32 = False
    main(Path(sys.argv[1]))
