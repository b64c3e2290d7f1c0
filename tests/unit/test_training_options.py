"""No option of a training silently does nothing."""

import pytest
from pydantic import ValidationError

from ruggedize.train.options import StudentOptions

TINY = {"model": "resnet9"}


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"consistency_weight": 0.0, "temperature_squared": True}, "remove it"),
        ({"consistency_weight": 0.0, "clean_view": "test"}, "remove it"),
        ({"consistency_weight": 1.0, "label_smoothing": 0.1}, "set it to 0"),
    ],
)
def test_an_option_without_effect_is_rejected(changes: dict, fix: str):
    with pytest.raises(ValidationError, match=fix):
        StudentOptions.model_validate(TINY | {"objective": changes})
    for name in changes:
        rest = {key: value for key, value in changes.items() if key != name}
        StudentOptions.model_validate(TINY | {"objective": rest})
