"""What the network scores on the validation split: every image exactly once."""

from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from ruggedize.data import ImageSet
from ruggedize.models import Classifier, answer_in_parts, images_at_once
from ruggedize.training.objectives import cross_entropy_sum
from ruggedize.training.processes import sum_over_processes


class Score(NamedTuple):
    """Mean cross entropy (nats) and accuracy (fraction) over the validation split."""

    loss: float
    accuracy: float

    def figure(self, watch: str) -> float:
        """Give the watched figure so that lower is better."""
        return self.loss if watch == "loss" else -self.accuracy


@torch.no_grad()
def validate(
    network: nn.Module,
    image_set: ImageSet,
    classifier: Classifier,
    autocast: torch.autocast,
    accelerator: Accelerator,
) -> Score:
    """Score a network on the test view of a labelled set; processes share the images."""
    device = accelerator.device
    training = network.training
    network.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    mine = np.arange(accelerator.process_index, len(image_set), accelerator.num_processes)
    most = images_at_once(classifier.input_size)
    parts = [mine[start : start + most] for start in range(0, len(mine), most)]
    for part in image_set.batches(parts):
        view = classifier.test_view(part.images).to(device)
        target = part.labels.to(device)
        with autocast:
            logits = answer_in_parts(network, view).float()
        correct = (logits.argmax(1) == target).sum()
        loss = cross_entropy_sum(logits, target, 0.0)
        sums += torch.stack([loss.double(), correct.double(), sums.new_tensor(len(target))])
    network.train(training)
    loss, correct, n = sum_over_processes(accelerator)(sums).tolist()
    return Score(loss / n, correct / n)
