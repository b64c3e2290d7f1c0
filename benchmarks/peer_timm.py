"""timm's network in a plain PyTorch loop."""

import torch
import torch.nn.functional as F

from benchmarks.operators import name_missing_operators
from benchmarks.pictures import pictures
from benchmarks.turns import Turns

BATCH_SIZE = 128
SIDE = 72


def training_step(turns: Turns, *, in_bfloat16: bool) -> None:
    """Train `resnetv2_50`, with Adam: float32, or bfloat16 by autocast and channels_last."""
    name_missing_operators()
    import timm

    layout = torch.channels_last if in_bfloat16 else torch.contiguous_format
    model = timm.create_model("resnetv2_50", num_classes=10).to(memory_format=layout)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)
    images = pictures(SIDE, BATCH_SIZE).float() / 127.5 - 1
    images = images.to(memory_format=layout)
    labels = torch.arange(BATCH_SIZE) % 10
    while True:
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        turns.step_done(BATCH_SIZE)
