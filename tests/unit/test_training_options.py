"""No option of a training silently does nothing."""

import pytest
from pydantic import ValidationError

from ruggedize.train.options import StudentOptions

TINY = {"model": "resnet9"}


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"consistency_weight": 0.0, "temperature_squared": True}, "leave it out"),
        ({"consistency_weight": 0.0, "clean_view": "test"}, "leave it out"),
        ({"consistency_weight": 1.0, "label_smoothing": 0.1}, "set it to 0"),
    ],
)
def test_an_option_without_effect_is_refused(changes: dict, cure: str):
    with pytest.raises(ValidationError, match=cure):
        StudentOptions.model_validate(TINY | {"objective": changes})
    for name in changes:
        rest = {key: value for key, value in changes.items() if key != name}
        StudentOptions.model_validate(TINY | {"objective": rest})
