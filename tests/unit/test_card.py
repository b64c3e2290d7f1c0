"""A model card says what was measured, what was not, and nothing of the machine."""

import json
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from ruggedize.assess import AssessmentFacts, AssessOptions, load_assessment
from ruggedize.card import Licenses, write_card
from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.files import sha256
from ruggedize.data import DataDigest
from ruggedize.models import CARD_FILES, ResNet9Options, create_model, load_model, save_model
from tests.tiny_assessment import CLASSES, FP32, tiny_run

PLACE = "/home/ann/private/photos"


def finished_run(folder: Path, options: AssessOptions = FP32) -> Path:
    """Make a run folder with models, whose recipe and assessment name a folder of the machine."""
    tiny_run(folder, options=options)
    for seed, stage in enumerate(("teacher", "student")):
        model = create_model(ResNet9Options(width=8), CLASSES, 16, 16, seed)
        save_model(model, folder / stage / "model.safetensors")
    recipe = f'seed = 0\n\n[data]\nname = "{PLACE}"\nroot = "/home/ann/private"\n'
    (folder / "recipe.toml").write_text(recipe)
    assessment = load_assessment(folder / "assessment.json")
    facts = AssessmentFacts(
        overlaps={"randaugment Brightness": ("brightness",), "randaugment Flip": ()},
        models={"student": sha256(folder / "student" / "model.safetensors")},
        data=DataDigest(place=PLACE, parts={}),
        examples=assessment.facts.examples,
    )
    changed = assessment.model_copy(update={"facts": facts})
    files.write_json(folder / "assessment.json", changed.model_dump(mode="json"))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("runs") / "bright")


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cards") / "bright-student"
    write_card(run, out, Licenses("Apache-2.0", "our own photographs"))
    return out


def front_matter(folder: Path) -> dict:
    text = (folder / "README.md").read_text()
    return yaml.safe_load(text.split("---\n")[1])


def test_the_folder_holds_a_cards_files_and_its_model_loads(run: Path, folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(CARD_FILES)
    model = (run / "student" / "model.safetensors").read_bytes()
    assert (folder / "model.safetensors").read_bytes() == model
    assert load_model(folder).classes == CLASSES
    assert load_assessment(folder / "assessment.json").models.keys() == {"teacher", "student"}


def test_the_results_are_in_the_hubs_format(run: Path, folder: Path) -> None:
    data = ModelCard.load(folder / "README.md").data
    assert (data.license, data.pipeline_tag) == ("apache-2.0", "image-classification")
    assert data.model_name == "bright-student"
    assert data.eval_results
    summary = load_assessment(run / "assessment.json").models["student"].summary
    values = {result.dataset_name: result.metric_value for result in data.eval_results}
    assert values["photos: clean"] == pytest.approx(summary["clean"], abs=1e-6)
    wanted = sorted(round(value, 6) for value in summary.values() if value is not None)
    assert sorted(values.values()) == wanted
    assert {result.metric_type for result in data.eval_results} == {"accuracy"}


def test_the_limits_are_named(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    assert "Assessed on 120 of 120 test images" in text
    assert "Chance level is 25.00 %." in text
    assert "randaugment Brightness (brightness)" in text
    assert "Flip" not in text
    assert re.search(r"C15: .*: not assessed \(needs all 15 corruptions, 3 assessed", text)
    assert "weights: Apache-2.0" in text
    assert "trained on: our own photographs" in text
    assert "`<b>dark</b>`" in text  # in code, where it is no markup


def test_nothing_names_a_folder_of_the_machine(run: Path, folder: Path) -> None:
    assert PLACE in (run / "recipe.toml").read_text()
    for name in CARD_FILES:
        content = (folder / name).read_bytes()
        assert b"/home/ann" not in content, name
        assert str(run.parent).encode() not in content, name
    assert 'name = "photos"' in (folder / "recipe.toml").read_text()


def test_licences_that_are_not_given_are_not_stated(run: Path, tmp_path: Path) -> None:
    write_card(run, tmp_path / "card")
    assert "license" not in front_matter(tmp_path / "card")
    assert (tmp_path / "card" / "README.md").read_text().count("not stated") == 2
    write_card(run, tmp_path / "card", Licenses("ours: ask 'us' # first", "CC"))
    matter = front_matter(tmp_path / "card")
    assert (matter["license"], matter["license_name"]) == ("other", "ours: ask 'us' # first")


def test_another_stage_can_be_chosen(run: Path, tmp_path: Path) -> None:
    write_card(run, tmp_path / "card", stage="teacher")
    assert load_model(tmp_path / "card").classes == CLASSES
    clean = front_matter(tmp_path / "card")["model-index"][0]["results"][0]["metrics"][0]["value"]
    summary = load_assessment(run / "assessment.json").models["teacher"].summary
    assert clean == pytest.approx(summary["clean"], abs=1e-6)
    with pytest.raises(UserError, match="teacher, student"):
        write_card(run, tmp_path / "other", stage="pupil")


def test_a_model_that_was_not_assessed_is_rejected(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    other = create_model(ResNet9Options(width=8), CLASSES, 16, 16, seed=9)
    save_model(other, run / "student" / "model.safetensors")
    with pytest.raises(UserError, match="not the model that was assessed"):
        write_card(run, tmp_path / "card")
    (run / "student" / "model.safetensors").unlink()
    with pytest.raises(UserError, match="finish the run"):
        write_card(run, tmp_path / "card")
    (run / "recipe.toml").unlink()
    save_model(other, run / "teacher" / "model.safetensors")
    with pytest.raises(UserError, match=r"recipe\.toml"):
        write_card(run, tmp_path / "card", stage="teacher")
    assert not (tmp_path / "card").exists()


def test_a_folder_with_other_files_is_left_alone(run: Path) -> None:
    before = (run / "recipe.toml").read_bytes()
    with pytest.raises(UserError, match="choose a new folder"):
        write_card(run, run)
    assert (run / "recipe.toml").read_bytes() == before


def test_unknown_overlaps_and_no_corruptions_are_said(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    path = run / "assessment.json"
    content = json.loads(path.read_text())
    content["facts"]["overlaps"] = None
    path.write_text(json.dumps(content))
    write_card(run, tmp_path / "card")
    assert (
        "overlaps the corruptions is not recorded" in (tmp_path / "card" / "README.md").read_text()
    )
