"""Assessing models of other origin from Python."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from ruggedize.assess import (
    AssessmentFacts,
    AssessOptions,
    assess,
    load_assessment,
    save_assessment,
    training_doubt,
)
from ruggedize.assess.chance import may_be_guessed
from ruggedize.core.errors import UserError
from ruggedize.corruptions import generated_suite
from ruggedize.data import DataDigest, DataOptions, load_test_images
from ruggedize.data.digest import PartDigest
from ruggedize.models import Classifier, Predictor
from tests.foreign import ColourNetwork, colour_folder, colour_images
from tests.tiny_assessment import TinySuite, tiny_images, tiny_models

DATA = colour_images(60)
OPTIONS = AssessOptions(precision="fp32", corruptions=("gaussian_noise", "fog"), severities=(1, 5))
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


def colours(images: torch.Tensor) -> torch.Tensor:
    """Score blue, green and red, as a user's own function may."""
    return images.float().mean((2, 3)).flip(1) / 10


def test_a_function_and_modules_are_assessed_side_by_side() -> None:
    network = ColourNetwork()
    models = {
        "function": colours,
        "predictor": Predictor(network, mean=MEAN, std=STD),
        "classifier": Classifier(network, classes=DATA.classes, input_size=16, mean=MEAN, std=STD),
    }
    found, predictions = assess(models, DATA, options=OPTIONS)
    assert found.precision == {"function": "own", "predictor": "fp32", "classifier": "fp32"}
    assert found.images.image_size == 16
    for name in models:
        assert found.models[name].clean.accuracy == 1.0
    for cell in predictions["classifier"].cells:
        ours, theirs = (predictions[name].cells[cell] for name in ("classifier", "predictor"))
        assert np.array_equal(ours.classes, theirs.classes)
        np.testing.assert_allclose(ours.confidences, theirs.confidences, atol=1e-5)


def test_corruptions_act_at_the_stored_size_before_the_models_own_resizing() -> None:
    suite = generated_suite(DATA.images)
    seen = []

    def note(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return colours(images)

    predictor = Predictor(note, input_size=8, resize=10)
    assess({"mine": predictor}, DATA, suite, OPTIONS)
    corrupted = suite.images("fog", 5, 0, len(DATA))
    assert torch.equal(seen[-1], predictor.view(corrupted))
    assert seen[-1].shape[2:] == (8, 8)


def test_without_a_suite_corruptions_are_made_as_the_options_say() -> None:
    procedural = {"frost": {"textures": "procedural"}}
    options = OPTIONS.model_copy(
        update={"corruptions": ("frost",), "corruption_options": procedural}
    )
    found = assess({"mine": colours}, DATA, options=options).assessment
    assert found.suite_facts["frost.textures"] == "procedural"
    own = generated_suite(DATA.images, options=procedural)
    assert found.models == assess({"mine": colours}, DATA, own, options).assessment.models


def test_a_bare_module_is_rejected_with_what_to_give() -> None:
    with pytest.raises(UserError, match=r"net is a ColourNetwork.*\n.*Predictor\(network"):
        assess({"net": ColourNetwork()}, DATA, options=OPTIONS)


def test_a_name_that_is_no_folder_is_rejected_before_any_work() -> None:
    with pytest.raises(UserError, match="valid folder name, got timm/resnet18"):
        assess({"timm/resnet18": colours}, DATA, options=OPTIONS)


def test_a_module_is_run_in_eval_mode_and_left_as_it_was() -> None:
    network = ColourNetwork().train()
    network.head.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assess({"net": Predictor(network)}, DATA, options=OPTIONS)
    assert network.training
    assert network.norm.training
    assert not network.head.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(weight.requires_grad for weight in network.parameters())


def test_a_model_that_fails_is_named_with_its_own_error() -> None:
    with pytest.raises(UserError, match=r"net fails on uint8 images \[2, 3, 16, 16\]: ValueError"):
        assess({"net": Predictor(ColourNetwork(size=32))}, DATA, options=OPTIONS)
    with pytest.raises(UserError, match="net: it returns 2 scores, but the data has 3 classes"):
        assess({"net": lambda images: torch.zeros(len(images), 2)}, DATA, options=OPTIONS)


def test_a_wrong_order_of_classes_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    shuffled = ColourNetwork(order=(1, 0, 2))  # green, red, blue
    with caplog.at_level(logging.WARNING):
        assess({"net": Predictor(shuffled)}, DATA, options=OPTIONS)
    assert "net has a clean accuracy of 0.0 %, not clearly above chance (33.3 %)" in caplog.text
    assert "in another order" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        found = assess({"net": Predictor(shuffled, ("green", "red", "blue"))}, DATA, None, OPTIONS)
    assert found.assessment.models["net"].clean.accuracy == 1.0
    assert not caplog.text


def test_many_outputs_may_count_for_one_class() -> None:
    chart = {"blue": "blue", "lime": "green", "grass": "green", "red": "red"}
    names = ("red", "lime", "blue", "grass", "other")
    network = ColourNetwork(order=(0, 1, 2, 1, 0))
    result = assess({"net": Predictor(network, names, class_map=chart)}, DATA, options=OPTIONS)
    assert result.assessment.models["net"].clean.accuracy == 1.0
    assert result.predictions["net"].clean.classes.max() == 2


def test_probabilities_are_calibrated_as_their_logits_are(caplog: pytest.LogCaptureFixture) -> None:
    models = {
        "logits": colours,
        "declared": Predictor(lambda x: colours(x).softmax(1), output="probabilities"),
        "undeclared": lambda x: colours(x).softmax(1),
    }
    found = assess(models, DATA, options=OPTIONS).assessment.models
    for ours, theirs in zip(found["logits"].cells, found["declared"].cells, strict=True):
        assert ours.calibration_error == pytest.approx(theirs.calibration_error, abs=1e-4)
        assert ours.negative_log_likelihood_sum == pytest.approx(
            theirs.negative_log_likelihood_sum, rel=1e-3, abs=1e-3
        )
    assert found["undeclared"].clean.calibration_error > 0.1
    assert "undeclared seems to return probabilities" in caplog.text
    assert "declared returns probabilities" not in caplog.text.replace("undeclared", "")


def test_models_of_other_sizes_are_named(caplog: pytest.LogCaptureFixture) -> None:
    models = {
        "as stored": Predictor(colours, input_size=16),
        "cropped": Predictor(colours, input_size=16, resize=18),
        "any": colours,
        "exported": Predictor(colours, input_size=24, image_size=16),
    }
    found = assess(models, DATA, options=OPTIONS).assessment
    assert "stored and corrupted at 16 pixels, then resized for cropped (18)" in caplog.text
    assert (found.inputs["cropped"].input_size, found.inputs["cropped"].resize) == (16, 18)
    assert found.inputs["any"].input_size is None


def test_the_test_view_of_a_classifier_is_recorded() -> None:
    models = tiny_models()
    models["student"].crop_pct, models["student"].test_filter = 0.875, "bicubic"
    images = tiny_images()
    found = assess(models, images, TinySuite(images.images), AssessOptions(precision="fp32"))
    facts = found.assessment.inputs
    assert [(each.crop_pct, each.interpolation) for each in facts.values()] == [
        (1.0, "tf"),
        (0.875, "bicubic"),
    ]


def test_assessments_of_earlier_versions_are_read(tmp_path: Path) -> None:
    images = tiny_images()
    result = assess(
        tiny_models(), images, TinySuite(images.images), AssessOptions(precision="fp32")
    )
    path = save_assessment(result, tmp_path)
    content = json.loads(path.read_text())
    assert content["schema_version"] == 1
    assert set(content["inputs"]) == {"teacher", "student"}
    del content["inputs"], content["images"]["image_size"], content["facts"]["sources"]
    path.write_text(json.dumps(content))
    again = load_assessment(path)
    assert again.images.image_size is None
    assert not again.inputs
    assert again.models == result.assessment.models


@pytest.mark.parametrize(
    ("correct", "n", "num_classes", "near"),
    [
        (0, 100, 10, True),
        (18, 100, 10, True),
        (25, 100, 10, False),
        (500, 1000, 2, True),
        (560, 1000, 2, False),
        (60, 50_000, 1000, True),
    ],
)
def test_what_counts_as_chance(correct: int, n: int, num_classes: int, near: bool) -> None:
    assert may_be_guessed(correct, n, 1 / num_classes) == near


def test_images_in_files_are_decoded_and_classified_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = colour_folder(tmp_path, ("",), n=90)
    options = DataOptions(name=str(folder), image_size=16, streaming=True, workers=1)
    streamed = load_test_images(options).images
    monkeypatch.setattr("ruggedize.assess.cells.BLOCK_VALUES", 20 * 3 * 16 * 16)
    sizes = []

    def note(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return colours(images)

    found = assess({"net": note}, streamed, options=OPTIONS).assessment.models["net"]
    assert max(sizes) == 20
    assert sum(sizes) == 2 + 90 * 5  # two are tried, then clean and four cells
    assert (found.clean.n, found.clean.correct) == (90, 90)


def test_figures_hold_only_for_images_that_a_model_was_not_trained_on() -> None:
    found = assess({"ours": colours, "mine": colours, "yours": colours}, DATA, None, OPTIONS)
    part = PartDigest(images=60, labels="0", content="0")

    def doubt(held_out: tuple[str, ...], name: str = "test") -> str:
        data = DataDigest(place="photos", parts={name: part})
        facts = AssessmentFacts(held_out=held_out, data=data)
        return training_doubt(found.assessment.model_copy(update={"facts": facts}))

    assert "only if mine and yours were trained on none of the 60 test images" in doubt(("ours",))
    assert "only if yours was trained on none" in doubt(("ours", "mine"))
    assert doubt(("ours", "mine", "yours")) == ""
    assert "no test/ or val/" not in doubt(())
    assert "no test/ or val/, so all of its images count as test images" in doubt((), "all")
