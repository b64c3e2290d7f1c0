"""One contestant in a process of its own: `python -m benchmarks.peer NAME STEPS TURNS`."""

import sys
from functools import partial

from benchmarks import peer_keras, peer_ruggedize, peer_timm
from benchmarks.turns import Turns

PEERS = {
    "ruggedize-step": peer_ruggedize.training_step,
    "ruggedize-pipeline": peer_ruggedize.student_pipeline,
    "ruggedize-pipeline-test-view": partial(peer_ruggedize.student_pipeline, clean_view="test"),
    "keras-tensorflow-step": partial(peer_keras.training_step, backend="tensorflow"),
    "keras-jax-step": partial(peer_keras.training_step, backend="jax", compiled_by_xla=True),
    "keras-pipeline": peer_keras.student_pipeline,
    "keras-pipeline-without-noise": partial(peer_keras.student_pipeline, with_noise=False),
    "keras-randaugment-32": partial(peer_keras.randaugment, size=32),
    "keras-randaugment-72": partial(peer_keras.randaugment, size=72),
    "keras-geometry": peer_keras.geometry,
    "timm-float32-step": partial(peer_timm.training_step, in_bfloat16=False),
    "timm-bfloat16-step": partial(peer_timm.training_step, in_bfloat16=True),
}


def main(name: str, steps: int, turns: int) -> None:
    """Work in turns until no more are wanted."""
    PEERS[name](Turns(steps, turns))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
