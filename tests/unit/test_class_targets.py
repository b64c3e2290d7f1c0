"""Which class of the data each output of a model counts for."""

import numpy as np
import pytest
import torch

from ruggedize.assess.classes import UNUSED, merged, output_targets
from ruggedize.core.errors import UserError
from tests.foreign import with_timm

DATA = ("cat", "dog", "fish")


def test_without_names_outputs_are_the_datas_classes_in_order() -> None:
    assert output_targets(3, DATA, None).tolist() == [0, 1, 2]
    with pytest.raises(UserError, match=r"returns 5 scores, but the data has 3 .*\n.*--classes"):
        output_targets(5, DATA, None)


def test_names_give_the_order_and_what_the_data_lacks_is_unused() -> None:
    found = output_targets(4, DATA, ("fish", "bird", "Dog", "cat"))
    assert found.tolist() == [2, UNUSED, 1, 0]
    with pytest.raises(UserError, match="no output matches fish"):
        output_targets(3, DATA, ("cat", "dog", "bird"))
    with pytest.raises(UserError, match="returns 4 scores, but there are 3 names"):
        output_targets(4, DATA, DATA)


def test_several_outputs_may_count_for_one_class() -> None:
    classes = ("tabby", "siamese", "poodle", "pike", "car")
    chart = {"tabby": "cat", "siamese": "cat", "poodle": "dog", "pike": "fish"}
    assert output_targets(5, DATA, classes, None, chart).tolist() == [0, 0, 1, 2, UNUSED]
    numbers = {"0": "cat", "1": "cat", "2": "dog", "3": "fish"}
    assert output_targets(5, DATA, None, None, numbers).tolist() == [0, 0, 1, 2, UNUSED]


@pytest.mark.parametrize(
    ("chart", "message"),
    [
        ({"lion": "cat"}, "names lion, which is not a class of the model"),
        ({"tabby": "bird"}, "names bird, which is not a class of the data"),
        ({"tabby": "cat"}, "no output is assigned to dog, fish"),
    ],
)
def test_a_map_that_does_not_fit_is_rejected(chart: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        output_targets(3, DATA, ("tabby", "poodle", "pike"), None, chart)


def test_synonyms_are_guesses_and_the_most_exact_one_counts() -> None:
    synonyms = [("n1", "crane, bird", "crane"), ("n2", "crane", "crane"), ("n3", "gull", "gull")]
    assert output_targets(3, ("n1", "n2", "n3"), None, synonyms).tolist() == [0, 1, 2]
    assert output_targets(3, ("gull", "n1"), None, synonyms).tolist() == [1, UNUSED, 0]
    assert output_targets(3, DATA, None, synonyms).tolist() == [0, 1, 2]  # none fits
    with pytest.raises(UserError, match="crane matches 2 classes"):
        output_targets(3, ("crane", "gull"), None, synonyms)


def test_folders_of_synsets_and_of_words_find_imagenets_outputs() -> None:
    with_timm()
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    names = [
        (synset, text, *text.split(", "))
        for synset, text in zip(info.label_names(), info.label_descriptions(), strict=True)
    ]
    synsets = tuple(sorted(info.label_names()))
    assert np.array_equal(output_targets(1000, synsets, None, names), np.arange(1000))
    words = ("golden_retriever", "n01440764", "Tabby", "great white shark")
    found = output_targets(1000, words, None, names)
    outputs = {words[target]: number for number, target in enumerate(found) if target >= 0}
    assert outputs == {
        "golden_retriever": 207,
        "n01440764": 0,
        "Tabby": 281,
        "great white shark": 2,
    }
    with pytest.raises(UserError, match="crane matches 2 classes"):
        output_targets(1000, ("crane", "tabby"), None, names)


def test_merged_logits_give_the_sums_of_the_used_probabilities() -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)) * 30
    found = merged(logits, torch.tensor([1, 1, 0, UNUSED, 2]), 3).softmax(1)
    shares = logits[:, [0, 1, 2, 4]].double().softmax(1)
    wanted = torch.stack([shares[:, 2], shares[:, 0] + shares[:, 1], shares[:, 3]], 1)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(found, merged(logits, torch.arange(5) % 3, 3).softmax(1))
