"""The layers of a network in order: which is the head, and what each parameter belongs to."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ruggedize.core.errors import UserError


def head_names(network: nn.Module) -> tuple[str, ...]:
    """Return the names of the modules that compute the logits: timm's classifier, or the last
    linear layer.
    """
    if config := timm_config(network):
        names = config.get("classifier") or ()
        return (names,) if isinstance(names, str) else tuple(names)
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return tuple(linear[-1:])


def timm_config(network: nn.Module) -> Mapping[str, Any] | None:
    """Return how timm describes one of its networks; None for other networks."""
    return getattr(network, "pretrained_cfg", None)


def is_of_head(name: str, heads: tuple[str, ...]) -> bool:
    """Return whether a parameter or buffer belongs to the head."""
    return any(name.startswith(f"{head}.") for head in heads)


def head_modules(network: nn.Module) -> list[nn.Module]:
    """Return the modules of the head.

    Raises:
        UserError: the network has no linear layer.
    """
    names = head_names(network)
    if not names:
        raise UserError(
            "the network has no linear layer that could be its head;\n"
            "set probe_epochs = 0, or end the network with a linear layer"
        )
    return [network.get_submodule(name) for name in names]


@torch.no_grad()
def copy_weights(
    source: Mapping[str, Tensor], network: nn.Module, origin: str, *, keep_head: bool
) -> None:
    """Copy another network's weights, with or without its head.

    Raises:
        UserError: the weights differ in name or shape, so it is another network.
    """
    reject_other_network(source, network, origin, keep_head=keep_head)
    heads = () if keep_head else head_names(network)
    for name, tensor in network.state_dict().items():
        if not is_of_head(name, heads):
            tensor.copy_(source[name])


def reject_other_network(
    source: Mapping[str, Tensor], network: nn.Module, origin: str, *, keep_head: bool
) -> None:
    """Raise UserError if weights differ from a network's in name or shape, its head aside."""
    heads = () if keep_head else head_names(network)
    target = network.state_dict()
    for name in sorted({*source, *target}):
        if is_of_head(name, heads):
            continue
        found, needed = shape_of(source, name), shape_of(target, name)
        if found != needed:
            raise UserError(
                f"{origin} has the weights of another network: {name} is {found} instead of "
                f"{needed};\nset the model that they were trained as"
            )


def shape_of(weights: Mapping[str, Tensor], name: str) -> tuple[int, ...] | str:
    """Return the shape of a weight, or "missing"."""
    return tuple(weights[name].shape) if name in weights else "missing"


def layer_numbers(network: nn.Module) -> dict[str, int]:
    """Return the number of the layer of each parameter, from 0 at the input; the head is the last.

    Layers of timm's networks are numbered as by `timm.optim.param_groups_layer_decay`; in other
    networks, a layer is a child of the network or, in a sequence of blocks, a block.
    """
    if timm_config(network):
        from timm.models import group_parameters

        matcher = network.group_matcher(coarse=False)  # pyright: ignore
        return group_parameters(network, matcher, reverse=True)  # pyright: ignore
    numbers: dict[str, int] = {}
    for number, (prefix, layer) in enumerate(layers_of("", network)):
        for name, _ in layer.named_parameters(prefix):
            numbers.setdefault(name, number)
    own = [name for name, _ in network.named_parameters() if name not in numbers]
    return dict.fromkeys(own, 0) | numbers  # parameters of the network itself: at the input


def layers_of(prefix: str, network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers that have parameters, with their names, in order."""
    for name, child in network.named_children():
        path = f"{prefix}.{name}".lstrip(".")
        blocks = list(child.children()) if isinstance(child, nn.Sequential) else []
        if blocks and all(list(block.children()) for block in blocks):
            yield from layers_of(path, child)
        elif any(True for _ in child.parameters()):
            yield path, child


def undecayed_names(network: nn.Module) -> frozenset[str]:
    """Return the parameters that timm exempts from weight decay beside norms and biases."""
    exempt = getattr(network, "no_weight_decay", None) if timm_config(network) else None
    return frozenset(exempt()) if exempt else frozenset()
