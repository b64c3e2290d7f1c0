"""A stage starts from the weights of another, or of a file; a linear probe comes first."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ruggedize.core.errors import UserError
from ruggedize.models import create_model, save_model
from ruggedize.models.nets.resnet9 import LOGIT_SCALE
from ruggedize.recipe import load_recipe
from tests.fine_tuning import assert_resumes_exactly, options_of, train

pytestmark = pytest.mark.more

PRETRAINED = '{name="timm/test_resnet", pretrained=true}'
SMALL = {"name": "resnet9", "width": 8}


def small(folder: Path, **changes: Any) -> Path:
    train(folder, options_of(model=SMALL, **changes))
    return folder / "model.safetensors"


def test_a_student_starts_from_its_teacher(tmp_path: Path) -> None:
    teacher = small(tmp_path / "teacher")
    options = options_of(model=SMALL, start="teacher", epochs=1)
    train(tmp_path / "student", options, name="student", start=teacher)
    assert (tmp_path / "student" / "initial.safetensors").read_bytes() == teacher.read_bytes()
    note = json.loads((tmp_path / "student" / "delivered.json").read_text())
    assert note["training"]["start"]["source"] == "teacher"
    assert note["training"]["start"]["head"] == "kept"
    small(tmp_path / "scratch")
    assert (tmp_path / "scratch" / "initial.safetensors").read_bytes() != teacher.read_bytes()


def test_a_file_of_other_classes_gets_a_new_head(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = options_of(model=SMALL, start=str(tmp_path / "file.safetensors"), epochs=1)
    other = create_model(options.model, ("x", "y", "z"), 16, 16, 5)
    save_model(other, tmp_path / "file.safetensors")
    with caplog.at_level("INFO"):
        train(tmp_path / "run", options)
    assert "new head" in caplog.text
    given, initial = (
        load_file(tmp_path / name) for name in ("file.safetensors", "run/initial.safetensors")
    )
    same = {name for name in given if torch.equal(given[name], initial[name])}
    assert set(given) - same == {"head.weight"}


def test_another_network_is_rejected_before_anything_is_written(tmp_path: Path) -> None:
    options = options_of(model={"name": "resnet9", "width": 16})
    wide = create_model(options.model, ("a", "b"), 16, 16, 5)
    save_model(wide, tmp_path / "wide.safetensors")
    for start in ("wide.safetensors", "nowhere.safetensors"):
        with pytest.raises(UserError, match=start):
            train(tmp_path / "run", options_of(model=SMALL, start=str(tmp_path / start)))
        assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="start=PATH"):
        train(tmp_path / "run", options_of(model=SMALL, start="teacher"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("teacher.start=teacher", "earlier stage"),
        ("teacher.start=student", "earlier stage"),
        ("student.start=nobody", "use one of teacher"),
        ("student.probe_epochs=40", "less than epochs"),
        ("student.layer_decay=0", "layer_decay"),
    ],
)
def test_mistakes_are_found_in_the_recipe(change: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe("demo", (change,))


def test_two_sources_of_weights_are_one_too_many() -> None:
    with pytest.raises(UserError, match=r"model\.pretrained"):
        load_recipe("demo", ("student.start=teacher", f"student.model={PRETRAINED}"))


def test_a_control_starts_where_the_student_does() -> None:
    recipe = load_recipe("demo", ("student.start=teacher", "control=true"))
    assert recipe.stages["noise-only"].start == "teacher"


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_only_the_head_is_trained_in_the_probe(tmp_path: Path, optimiser: str) -> None:
    options = options_of(model=SMALL, epochs=3, probe_epochs=2, optimiser=optimiser)
    train(tmp_path, options)
    initial, probed, final = (
        load_file(tmp_path / f"{name}.safetensors") for name in ("initial", "probed", "model")
    )
    assert {name for name in initial if not torch.equal(initial[name], probed[name])} == {
        "head.weight"
    }
    weights = {name for name in final if name.endswith(("weight", "bias"))}
    assert all(not torch.equal(probed[name], final[name]) for name in weights)


def test_the_probe_is_logistic_regression_on_fixed_features(tmp_path: Path) -> None:
    """Oracle: plain torch on the features of the initial network, one batch a step."""
    from ruggedize.core import seeding
    from ruggedize.models import load_model
    from tests.fine_tuning import splits

    optimiser = {"kind": "sgd", "lr": 0.1, "momentum": 0, "weight_decay": 0}
    options = options_of(
        model=SMALL, epochs=2, probe_epochs=1, batch_size=64, optimiser=optimiser, schedule="cosine"
    )
    train(tmp_path, options)
    initial = load_model(tmp_path / "initial.safetensors")
    from ruggedize.views import ViewMaker
    from tests.fine_tuning import VIEWS

    data = splits().train
    order = torch.from_numpy(seeding.order(0, "teacher/order", 0, 64))
    batch = data.take(order)
    maker = ViewMaker(VIEWS, image_size=16, seed=int(seeding.stream_key(0, "teacher")))
    views = maker.clean(batch.images, batch.index, 0)
    captured: list[torch.Tensor] = []
    head = initial.network.get_submodule("head")
    head.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0].detach()))
    initial.eval()(views)
    weight = head.weight.detach().clone().requires_grad_()
    logits = LOGIT_SCALE * captured[0] @ weight.T
    loss = torch.nn.functional.cross_entropy(logits, batch.labels)
    loss.backward()
    expected = weight.detach() - 0.1 * weight.grad
    found = load_file(tmp_path / "probed.safetensors")["head.weight"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_probe_resumes_exactly_on_both_sides_of_its_end(tmp_path: Path) -> None:
    options = options_of(
        epochs=3, probe_epochs=1, layer_decay=0.7, averaging="ema", schedule="cosine"
    )
    for at in (2, 6):
        assert_resumes_exactly(tmp_path / str(at), options, at=at)
