"""The whole step of `keras-example`'s student: two views, frozen teacher, student, batch 128.

Both start from uint8 images of 32 pixels in memory. Ours is `train_student` with the recipe as it
is shipped: kernels for flip, resize, crop and RandAugment `tf-2021`, precision auto, channels_last.
Ours is timed a second time with the variant `clean_view = "test"`, whose teacher was asked before
the first step: that is another training, and no like for like.
The peer is the Keras example's pipeline, written for Keras 3 on TensorFlow: two tf.data pipelines
zipped, `fit` with a `train_step` of its own, float32, a graph without XLA. Keras' own RandAugment
layer stands in for that of TensorFlow's model garden. As it works out every one of its operations
for each image, the peer is also timed with no RandAugment at all, which favours it.
Its queues are full when a turn begins, and its turn lasts until they are full again: views that it
made ahead count as its own work, and nothing works while another one is timed.
"""

import torch

from benchmarks.compare import compare
from benchmarks.record import Content, Pair, add_group, begun, interleaved
from benchmarks.turns import working

STEPS = 6  # a turn
GROUP = "views, teacher and student, 32 to 72 px, batch 128"
OURS, VARIANT = "ruggedize", "ruggedize, clean_view = test"
OWN = {OURS: "ruggedize-pipeline", VARIANT: "ruggedize-pipeline-test-view"}
PEERS = {
    "Keras example on TensorFlow": "keras-pipeline",
    "Keras example on TensorFlow, no RandAugment": "keras-pipeline-without-noise",
}
PAIRS: list[Pair] = [(ours, name, ("tensorflow", "keras")) for ours in OWN for name in PEERS]


def measure(rounds: int) -> dict[str, Content]:
    """Run each contestant's turns of a few steps in its own process."""
    content = begun(rounds, ("tensorflow", "keras"))
    content |= {"threads": torch.get_num_threads(), "steps a turn": STEPS}
    present = PEERS if "missing" not in content["peers"].values() else {}
    with working(OWN | present, STEPS, rounds) as contestants:
        add_group(content, GROUP, interleaved(contestants, rounds), PAIRS)
    return {"student_pipeline": content}


if __name__ == "__main__":
    compare({"student_pipeline": measure})
