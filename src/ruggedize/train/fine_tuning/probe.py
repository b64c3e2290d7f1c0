"""Linear probe: in the first epochs only the head is trained, on frozen features."""

from torch import nn

from ruggedize.models import Classifier, head_modules, head_names, is_of_head, save_model
from ruggedize.train.stage import Stage

PROBED = "probed.safetensors"  # the weights at the end of the probe


def body_weights(model: nn.Module) -> list[nn.Parameter]:
    """Return the trained weights that do not belong to the head."""
    assert isinstance(model, Classifier)
    heads = head_names(model.network)
    return [
        weight
        for name, weight in model.network.named_parameters()
        if weight.requires_grad and not is_of_head(name, heads)
    ]


def set_modes(stage: Stage, body: list[nn.Parameter], epoch: int) -> None:
    """Freeze all layers but the head in an epoch of the linear probe, and unfreeze them after it.

    Frozen layers are in eval mode and get no gradients. With several processes their gradients are
    computed and discarded, because DistributedDataParallel waits for them.
    """
    if not stage.options.probe_epochs:
        return
    is_probe = epoch < stage.options.probe_epochs
    if stage.accelerator.num_processes == 1:
        for weight in body:
            weight.requires_grad_(not is_probe)
    if is_probe:
        stage.model.network.eval()
        for head in head_modules(stage.model.network):
            head.train()


def discard_gradients(body: list[nn.Parameter]) -> None:
    """Discard the gradients of the layers that the probe does not train."""
    for weight in body:
        weight.grad = None


def save_probed(stage: Stage, epoch: int, step_in_epoch: int) -> None:
    """Write the weights with which the training of all layers begins, at its first step."""
    is_first = epoch == stage.options.probe_epochs > 0 and step_in_epoch == 0
    if is_first and stage.accelerator.is_main_process:
        save_model(stage.model, stage.folder / PROBED, stage.parents)
