"""ResNet50V2 against Keras' application, on Keras' torch backend, in float32."""

import os
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ruggedize.models import Classifier, ResNet50V2Options, create_model, num_parameters
from ruggedize.models.nets.resnet50v2 import STAGES

pytestmark = pytest.mark.more

SIDE = 72
BATCH = 4
KEPT = 0.99  # of the running statistics, a step


class Twins(NamedTuple):
    """The same weights in Keras and in ours."""

    theirs: Any
    ours: Classifier


@pytest.fixture
def twins() -> Twins:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    assert keras.backend.backend() == "torch"
    body = keras.applications.ResNet50V2(
        weights=None, include_top=False, input_shape=(SIDE, SIDE, 3), pooling="avg"
    )
    inputs = keras.Input((SIDE, SIDE, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    theirs = keras.Model(inputs, keras.layers.Dense(10, name="head")(body(scaled)))
    randomise(theirs)
    ours = create_model(ResNet50V2Options(), tuple("abcdefghij"), 32, SIDE, seed=0)
    copy_weights(body, theirs.get_layer("head"), ours.network)
    return Twins(theirs, ours)


@pytest.fixture
def images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (BATCH, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)


def randomise(model: Any) -> None:
    """Set every weight that starts as a constant to a random value, statistics included."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "bias", "moving_mean"):
            variable.assign(rng.normal(0, 0.1, variable.shape))


def copy_weights(body: Any, head: Any, network: nn.Module) -> None:
    """Copy Keras' weights, layer by layer, by Keras' names."""
    copy_convolution(body.get_layer("conv1_conv"), network.stem[0])
    for name, block in zip(block_names(), network.blocks, strict=True):
        copy_batch_norm(body.get_layer(f"{name}_preact_bn"), block.before[0])
        if block.shortcut is not None:
            copy_convolution(body.get_layer(f"{name}_0_conv"), block.shortcut)
        for number, position in ((1, 0), (2, 2), (3, 4)):
            copy_convolution(body.get_layer(f"{name}_{number}_conv"), block.branch[position])
        for number, position in ((1, 1), (2, 3)):
            copy_batch_norm(body.get_layer(f"{name}_{number}_bn"), block.branch[position][0])
    copy_batch_norm(body.get_layer("post_bn"), network.post[0])
    kernel, bias = head.get_weights()
    fill(network.head.weight, kernel.T)
    fill(network.head.bias, bias)


def block_names() -> list[str]:
    return [
        f"conv{stage}_block{number}"
        for stage, (_, num_blocks, _) in enumerate(STAGES, start=2)
        for number in range(1, num_blocks + 1)
    ]


def copy_convolution(theirs: Any, ours: nn.Conv2d) -> None:
    kernel, *bias = theirs.get_weights()
    assert theirs.use_bias == (ours.bias is not None), theirs.name
    fill(ours.weight, kernel.transpose(3, 2, 0, 1))
    if ours.bias is not None:
        fill(ours.bias, bias[0])


def copy_batch_norm(theirs: Any, ours: nn.BatchNorm2d) -> None:
    assert theirs.epsilon == ours.eps
    assert theirs.momentum == pytest.approx(1 - ours.momentum)
    values = (ours.weight, ours.bias, ours.running_mean, ours.running_var)
    for target, value in zip(values, theirs.get_weights(), strict=True):
        fill(target, value)


def fill(target: Tensor, value: np.ndarray) -> None:
    with torch.no_grad():
        assert target.shape == value.shape
        target.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def call(model: Any, images: Tensor, training: bool) -> Tensor:
    with torch.no_grad():
        return model(images.permute(0, 2, 3, 1).float(), training=training).cpu()


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_both_count_the_same_parameters(twins: Twins) -> None:
    assert twins.theirs.count_params() == num_parameters(twins.ours) == 23_585_290


@torch.no_grad()
def test_outputs_are_those_of_keras(twins: Twins, images: Tensor) -> None:
    theirs = call(twins.theirs, images, training=False)
    assert relative_difference(twins.ours.eval()(images), theirs) < 1e-4
    twins.ours.network.stem[1] = nn.Identity()
    twins.ours.network.stem[2] = nn.MaxPool2d(3, stride=2, padding=1)  # pads with minus infinity
    assert relative_difference(twins.ours(images), theirs) > 1e-3  # it bites


@torch.no_grad()
def test_a_training_step_moves_the_running_statistics_as_in_keras(
    twins: Twins, images: Tensor
) -> None:
    """Keras divides the batch's variance by the count, torch by the count - 1."""
    layers = [module for module in twins.ours.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [layer.running_var.clone() for layer in layers]
    counts: dict[nn.Module, int] = {}
    for layer in layers:
        layer.register_forward_hook(
            lambda module, _, output: counts.update({module: output[:, 0].numel()})
        )
    ours = twins.ours.train()(images)
    theirs = call(twins.theirs, images, training=True)
    assert relative_difference(ours, theirs) < 1e-3
    stays = twins.ours.network.state_dict()
    for layer, start in zip(layers, before, strict=True):
        batch_variance = (layer.running_var - KEPT * start) / (1 - KEPT)
        batch_variance *= (counts[layer] - 1) / counts[layer]
        layer.running_var.copy_(KEPT * start + (1 - KEPT) * batch_variance)
    ours_after = {name: value.clone() for name, value in stays.items()}
    body = next(layer for layer in twins.theirs.layers if layer.name == "resnet50v2")
    copy_weights(body, twins.theirs.get_layer("head"), twins.ours.network)
    for name, value in twins.ours.network.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(ours_after[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert all(
        not torch.equal(layer.running_var, start)
        for layer, start in zip(layers, before, strict=True)
    )
