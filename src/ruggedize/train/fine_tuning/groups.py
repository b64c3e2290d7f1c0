"""Parameter groups of the optimiser: weight decay and learning rate by parameter."""

from typing import Any

from torch import nn

from ruggedize.models import head_names, is_of_head, layer_numbers, undecayed_names
from ruggedize.train.optim import FACTOR, Adam, AdamW, Sgd


def parameter_groups(
    model: nn.Module, options: Adam | AdamW | Sgd, layer_decay: float, *, has_probe: bool
) -> list[dict[str, Any]]:
    """Return groups of the trained weights, those of the first layers first.

    Biases, norms (one-dimensional) and weights that timm exempts get no weight decay. A layer's
    learning rate is multiplied by `layer_decay` once for every layer between it and the output.
    With a linear probe the head has its own groups: torch's fused SGD needs all weights of a group
    to have made the same number of steps.
    """
    prefix, network = network_in(model)
    heads = tuple(f"{prefix}{name}" for name in head_names(network)) if has_probe else ()
    factors, exempt = layer_factors(model, layer_decay), undecayed_in(model)
    weight_decay = 0.0 if isinstance(options, Adam) else options.weight_decay
    bias_factor = options.bias_lr_factor if isinstance(options, Sgd) else 1.0
    groups: dict[tuple[float, bool, bool, float], dict[str, Any]] = {}
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        is_undecayed = not isinstance(options, Adam) and (weight.ndim <= 1 or name in exempt)
        factor = factors.get(name, 1.0)
        group = {
            "params": [],
            "weight_decay": 0.0 if is_undecayed else weight_decay,
            FACTOR: factor * (bias_factor if weight.ndim <= 1 else 1.0),
        }
        key = (factor, is_of_head(name, heads), is_undecayed, group[FACTOR])
        groups.setdefault(key, group)["params"].append(weight)
    return [groups[key] for key in sorted(groups)]


def layer_factors(model: nn.Module, layer_decay: float) -> dict[str, float]:
    """Return the factor on the learning rate by parameter; empty without layer-wise decay.

    Source: Clark et al. 2020, "ELECTRA"; for images, Bao et al. 2022, "BEiT".
    """
    if layer_decay == 1:
        return {}
    prefix, network = network_in(model)
    numbers = layer_numbers(network)
    last = max(numbers.values())
    return {f"{prefix}{name}": layer_decay ** (last - number) for name, number in numbers.items()}


def undecayed_in(model: nn.Module) -> frozenset[str]:
    """Return the names of the parameters that timm exempts from weight decay."""
    prefix, network = network_in(model)
    return frozenset(f"{prefix}{name}" for name in undecayed_names(network))


def network_in(model: nn.Module) -> tuple[str, nn.Module]:
    """Return a classifier's network and the prefix of its names, or the model itself."""
    network = getattr(model, "network", None)
    return ("network.", network) if isinstance(network, nn.Module) else ("", model)
