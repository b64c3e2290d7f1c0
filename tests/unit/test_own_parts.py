"""Mistakes in objectives, networks and corruptions of a user's own are found early."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ruggedize import load_recipe
from ruggedize.assess import AssessOptions
from ruggedize.core.errors import UserError
from ruggedize.corruptions import CORRUPTIONS, Corruption, generated_suite, parsed_names
from ruggedize.corruptions.names import ALL
from ruggedize.corruptions.suites import further_corruptions
from ruggedize.models import CustomModel, create_model
from ruggedize.train import Batch, CustomObjective, Term, counts_of
from ruggedize.train.loop import fit
from tests.tiny_stages import tiny_stage

Images = Mapping[str, Any]


class Plain:
    """An objective that works; the cases below break one thing each."""

    sources: Mapping[str, int] = {"labelled": 1}
    sees = "clean"
    weight, per = 1.0, "labelled"

    def batch(self, images: Images, epoch: int, step: int) -> Batch:
        part = images["labelled"]
        tensors = {"images": part.images, "labels": part.labels}
        return Batch({"labelled": tensors}, counts_of(part))

    def loss(self, model: nn.Module, batch: Batch) -> Any:
        own = batch["labelled"]
        losses = nn.functional.cross_entropy(model(own["images"]), own["labels"], reduction="none")
        return {"labels": Term(self.total(losses), self.per, self.weight)}

    def total(self, losses: torch.Tensor) -> torch.Tensor:
        return losses.sum()


class NoScalar(Plain):
    def total(self, losses: torch.Tensor) -> torch.Tensor:
        return losses


class NoTerm(Plain):
    def loss(self, model: nn.Module, batch: Batch) -> Any:
        return super().loss(model, batch)["labels"].total


class BareTerm(Plain):
    def loss(self, model: nn.Module, batch: Batch) -> Any:
        return super().loss(model, batch)["labels"]


class NamedLoss(Plain):
    def loss(self, model: nn.Module, batch: Batch) -> Any:
        return {"loss": super().loss(model, batch)["labels"]}


class WrongCount(Plain):
    per = "nope"


class NoWeight(Plain):
    weight = 0.0


class WrongView(Plain):
    sees = "noizy"


class WrongSource(Plain):
    sources = {"labeled": 1}


class HalfAState(Plain):
    def state_dict(self) -> dict[str, torch.Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None: ...


class Nothing:
    pass


class Own(CustomObjective):
    name: str = "Plain"

    def make(self, context: object) -> Any:
        return KINDS[self.name]()


FAULTS = {
    NoScalar: r"labels must be a Term whose total is a scalar;\n",
    NoTerm: r"must return a mapping of terms, got Tensor;\n",
    BareTerm: r"must return a mapping of terms, got Term;\n",
    NamedLoss: r"term loss would be added to the loss that is logged;\n",
    WrongCount: r"divided by the count 'nope', .*;\nuse one of images, labelled",
    NoWeight: r"every term of the objective has weight 0;\n",
    WrongView: r"sees must be clean or noisy, got 'noizy';\n",
    WrongSource: r"sources must name labelled and may name unlabelled, got labeled;\n",
    HalfAState: r"needs after_step, state_dict, load_state_dict; this one has state_dict, load",
    Nothing: r"must return an object with sources, sees, batch and loss, got Nothing;\n",
}


KINDS = {kind.__name__: kind for kind in (Plain, *FAULTS)}


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_faulty_objective_is_rejected_with_its_fix(kind: type, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=FAULTS[kind]):
        fit(tiny_stage(tmp_path, objective=Own(name=kind.__name__), epochs=1))


def test_the_objective_that_the_cases_are_made_of_trains(tmp_path: Path) -> None:
    fit(tiny_stage(tmp_path, objective=Own(), epochs=1))
    assert (tmp_path / "model.safetensors").exists()


class Wide(CustomModel):
    outputs: int = 13

    def layout(self, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, self.outputs))


def test_a_network_without_one_output_per_class_is_rejected() -> None:
    with pytest.raises(UserError, match=r"\[2, 3\] for 2 images and 3 classes, got \[2, 13\]"):
        create_model(Wide(), ("a", "b", "c"), 8, 8, 0)
    assert create_model(Wide(outputs=3), ("a", "b", "c"), 8, 8, 0).training


def dim(images: Any, out: Any, factor: float) -> None:
    out[:] = images * factor


DARKNESS = Corruption(
    name="darkness", cifar=(0.9, 0.7, 0.5, 0.3, 0.1), kernel=dim, source="pixels times the level"
)


def test_a_row_of_the_catalogue_beyond_the_published_ones_is_assessed_by_name_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = torch.full((2, 3, 8, 8), 200, dtype=torch.uint8)
    with pytest.raises(UserError, match="unknown corruption darkness"):
        parsed_names("darkness,fog")
    monkeypatch.setitem(CORRUPTIONS, "darkness", DARKNESS)
    assert parsed_names("darkness,fog") == ("darkness", "fog")
    recipe = load_recipe("demo", ('assess.corruptions=["darkness"]',))
    assert recipe.assess.corruptions == ("darkness",)
    assert generated_suite(images).corruptions == ALL
    suite = generated_suite(images, extra=further_corruptions(("darkness", "fog")))
    assert suite.corruptions == (*ALL, "darkness")
    assert int(suite.images("darkness", 5, 0, 1).max()) == 20
    assert further_corruptions(AssessOptions().corruptions) == []


def test_a_recipe_takes_objects_of_ones_own_and_validates_them() -> None:
    recipe = load_recipe("demo")
    changed = recipe.replaced({"student.objective": Own(), "student.epochs": 3})
    assert isinstance(changed.student.objective, Own)
    assert changed.student.epochs == 3
    assert changed.teacher == recipe.teacher
    assert changed.student.model == recipe.student.model
    with pytest.raises(UserError, match=r"unknown key student.objectiv; did you mean objective\?"):
        recipe.replaced({"student.objectiv": Own()})
    with pytest.raises(UserError, match=r"student.objective.kind must be one of supervised"):
        recipe.replaced({"student.objective": "nonsense"})
    with pytest.raises(UserError, match=r"nothing\.deeper is not an option"):
        recipe.replaced({"student.nothing.deeper": 1})
