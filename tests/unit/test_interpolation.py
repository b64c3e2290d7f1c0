"""Weights between two networks: the arithmetic, the choice, interruptions, and mistakes."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn

from ruggedize import load_model
from ruggedize.core.errors import UserError
from ruggedize.corruptions import EXTRA, corrupt
from ruggedize.models import create_model, save_model
from ruggedize.recipe import load_recipe
from ruggedize.train import InterpolationOptions, interpolate_stage, train_stage
from ruggedize.views import MixUpOptions
from tests.fine_tuning import VIEWS, options_of, splits, train

pytestmark = pytest.mark.more

SMALL = {"name": "resnet9", "width": 8}
TRAINING = options_of(model=SMALL, epochs=3, optimiser={"kind": "adam", "lr": 0.01})
ALPHAS = (0, 0.25, 0.5, 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(folder, TRAINING)
    return folder


def interpolate(trained: Path, out: Path, **more: Any) -> None:
    options = InterpolationOptions(interpolate="teacher", start="a.b", alphas=ALPHAS)
    interpolate_stage(
        "wise",
        splits(),
        more.pop("views", VIEWS),
        options,
        out,
        start=more.pop("start", trained / "initial.safetensors"),
        end=trained / "model.safetensors",
        training=more.pop("training", TRAINING),
        accelerator=Accelerator(cpu=True),
        **more,
    )


@pytest.fixture(scope="module")
def made(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wise") / "stage"
    interpolate(trained, out)
    return out


def points_of(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "interpolation.json").read_text())["points"]


def test_the_ends_are_the_networks_themselves(trained: Path, made: Path) -> None:
    """Oracle: predictions of the two files on images corrupted by `corrupt`."""
    data = splits().validation
    first, *_, last = points_of(made)
    for point, name in ((first, "initial"), (last, "model")):
        model = load_model(trained / f"{name}.safetensors")
        clean = model.predict(data.images).labels == data.labels
        assert point["clean"] == pytest.approx(clean.double().mean().item())
        right = [
            (model.predict(corrupt(data.images, "saturate", severity)).labels == data.labels)
            for severity in range(1, 6)
        ]
        share = torch.stack(right).double().mean().item()
        assert point["by_corruption"]["saturate"] == pytest.approx(share)  # not random
    assert last["clean"] > first["clean"]


def test_alpha_is_chosen_by_the_mean_of_the_four_extra_corruptions(made: Path) -> None:
    points = points_of(made)
    assert [point["alpha"] for point in points] == list(ALPHAS)
    for point in points:
        assert tuple(point["by_corruption"]) == EXTRA
        assert point["corrupted"] == pytest.approx(sum(point["by_corruption"].values()) / 4)
    chosen = json.loads((made / "delivered.json").read_text())["alpha"]
    best = max(point["corrupted"] for point in points)
    assert next(point for point in points if point["alpha"] == chosen)["corrupted"] == best


def test_weights_are_interpolated_and_statistics_are_those_of_the_new_network(
    trained: Path, tmp_path: Path
) -> None:
    """Oracle: plain torch; the statistics of the first layer are those of its inputs."""
    options = InterpolationOptions(interpolate="teacher", start="a.b", alphas=(0.25,))
    training = options_of(model=SMALL, batch_size=64)
    interpolate_stage(
        "wise",
        splits(),
        VIEWS,
        options,
        tmp_path / "out",
        start=trained / "initial.safetensors",
        end=trained / "model.safetensors",
        training=training,
        accelerator=Accelerator(cpu=True),
    )
    start, end = (load_file(trained / f"{name}.safetensors") for name in ("initial", "model"))
    found = load_file(tmp_path / "out" / "model.safetensors")
    model = load_model(tmp_path / "out" / "model.safetensors")
    weights = [name for name, _ in model.network.named_parameters()]
    for name in weights:
        torch.testing.assert_close(found[name], 0.75 * start[name] + 0.25 * end[name])
    first = next(
        name for name, module in model.network.named_modules() if isinstance(module, nn.BatchNorm2d)
    )
    assert not torch.allclose(
        found[f"{first}.running_mean"],
        0.75 * start[f"{first}.running_mean"] + 0.25 * end[f"{first}.running_mean"],
        atol=1e-3,
    )
    seen: list[torch.Tensor] = []
    layer = model.network.get_submodule(first)
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    from ruggedize.core.seeding import stream_key
    from ruggedize.views import ViewMaker

    train_set = splits().train
    maker = ViewMaker(VIEWS, image_size=16, seed=int(stream_key(0, "wise/refresh")))
    model(maker.clean(train_set.images, train_set.index, 0))
    mean = seen[0].mean((0, 2, 3))
    torch.testing.assert_close(found[f"{first}.running_mean"], mean, rtol=1e-4, atol=1e-5)


def test_an_interrupted_interpolation_goes_on_to_the_same_bytes(
    trained: Path, made: Path, tmp_path: Path
) -> None:
    done: list[int] = []

    def progress(task: str, number: int, total: int) -> None:
        done.append(number)
        if len(done) == 50:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interpolate(trained, tmp_path, progress=progress)
    assert len(points_of(tmp_path)) == 2
    seen: list[int] = []
    interpolate(trained, tmp_path, progress=lambda task, number, total: seen.append(number))
    assert len(seen) == 40  # the two alphas that were left
    for name in ("model.safetensors", "interpolation.json", "delivered.json"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes(), name
    interpolate(trained, tmp_path, progress=lambda *_: pytest.fail("it was made already"))


def test_another_start_is_another_interpolation(trained: Path, made: Path, tmp_path: Path) -> None:
    other = create_model(TRAINING.model, splits().train.classes, 16, 32, 9)
    save_model(other, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="another interpolation"):
        interpolate(trained, made, start=tmp_path / "other.safetensors")
    wide = create_model(
        options_of(model={"name": "resnet9", "width": 16}).model, splits().train.classes, 16, 32, 9
    )
    save_model(wide, tmp_path / "wide.safetensors")
    with pytest.raises(UserError, match="another network"):
        interpolate(trained, tmp_path / "new", start=tmp_path / "wide.safetensors")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('{interpolate="student"}', "random weights"),
        ('{interpolate="wise"}', "earlier training"),
        ('{interpolate="student", start="nobody"}', "earlier stage"),
        ('{interpolate="student", start="teacher", alphas=[0.5, 2]}', "stages.wise.alphas"),
        ('{interpolate="student", start="teacher", alpha=0.5}', "did you mean alphas"),
    ],
)
def test_mistakes_are_found_in_the_recipe(table: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe("demo", (f"stages.wise={table}",))


def test_a_recipe_with_an_interpolation_reads_back_as_written(tmp_path: Path) -> None:
    from ruggedize.recipe import recipe_toml

    recipe = load_recipe(
        "demo", ("student.start=teacher", 'stages.wise={interpolate="student"}', "control=true")
    )
    (tmp_path / "recipe.toml").write_text(recipe_toml(recipe))
    assert load_recipe(tmp_path / "recipe.toml") == recipe
    assert isinstance(recipe.stages["wise"], InterpolationOptions)


def test_statistics_are_refreshed_on_mixed_images_if_the_training_saw_them(tmp_path: Path) -> None:
    views = VIEWS.model_copy(update={"noise": (MixUpOptions(),)})
    training = options_of(model=SMALL, epochs=1, views="noisy")
    cpu = Accelerator(cpu=True)
    train_stage("teacher", splits(), views, training, tmp_path / "end", accelerator=cpu)
    interpolate(tmp_path / "end", tmp_path / "wise", views=views, training=training)
    assert len(points_of(tmp_path / "wise")) == len(ALPHAS)
