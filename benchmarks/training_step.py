"""One supervised step of ResNet50V2 at 72 pixels, batch 128: forward, backward, Adam, all cores.

Ours is the package's own loop (`train_teacher` on images that are views already; precision auto,
channels_last). Keras' is `train_on_batch`, itself a compiled function: on TensorFlow as a graph, on
JAX through XLA. timm's `resnetv2_50` runs in a plain PyTorch loop; its network is of the same
family, with 0.1 % fewer parameters (none of its convolutions has biases).
"""

import torch

from benchmarks.compare import compare
from benchmarks.record import Content, Pair, add_group, begun, interleaved
from benchmarks.turns import working

STEPS = 3  # a turn
GROUP = "ResNet50V2, 72 px, batch 128"
OURS = "ruggedize"
PEERS: dict[str, tuple[str, tuple[str, ...]]] = {  # contestant: peer, the packages it needs
    "Keras on TensorFlow": ("keras-tensorflow-step", ("tensorflow", "keras")),
    "Keras on JAX": ("keras-jax-step", ("jax", "keras")),
    "timm resnetv2_50, float32": ("timm-float32-step", ("timm",)),
    "timm resnetv2_50, bfloat16, channels_last": ("timm-bfloat16-step", ("timm",)),
}
PAIRS: list[Pair] = [(OURS, name, packages) for name, (_, packages) in PEERS.items()]


def measure(rounds: int) -> dict[str, Content]:
    """Run each contestant's turns of a few steps in its own process."""
    content = begun(rounds, ("tensorflow", "jax", "keras", "timm"))
    content |= {"threads": torch.get_num_threads(), "steps a turn": STEPS}
    present = {
        contestant: peer
        for contestant, (peer, packages) in PEERS.items()
        if all(content["peers"][package] != "missing" for package in packages)
    }
    with working({OURS: "ruggedize-step"} | present, STEPS, rounds) as contestants:
        add_group(content, GROUP, interleaved(contestants, rounds), PAIRS)
    return {"training_step": content}


if __name__ == "__main__":
    compare({"training_step": measure})
