"""What decides a training's result, by name: saved with it and compared before it is resumed."""

from dataclasses import dataclass
from typing import Any

from ruggedize.training.options import TrainingOptions
from ruggedize.views.options import ViewOptions


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that a training depends on, except for the images themselves."""

    name: str  # of the training; its options are named after it: teacher.batch_size
    options: TrainingOptions
    views: ViewOptions
    others: dict[str, Any]  # JSON: seed, parents, classes, ...

    def to_json(self) -> dict[str, Any]:
        """Return all facts as JSON."""
        return {
            "options": self.options.model_dump(mode="json"),
            "views": self.views.model_dump(mode="json"),
            **self.others,
        }

    def differing(self, saved: dict[str, Any]) -> list[str]:
        """Return the names of the facts in which a saved training differs from this one.

        Saved options are read through today's types, so that an option added since has its
        default. A fact that was not recorded at the time is not compared.

        Raises:
            KeyError, TypeError, ValueError: these facts are of a version that is not understood.
        """
        options = type(self.options).model_validate(saved["options"])
        views = ViewOptions.model_validate(saved["views"])
        theirs = saved | Facts(name="", options=options, views=views, others={}).to_json()
        ours = {key: value for key, value in self.to_json().items() if key in saved}
        left, right = (
            flat({self.named(key): facts[key] for key in facts}) for facts in (ours, theirs)
        )
        return sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))

    def named(self, key: str) -> str:
        """Return what a user calls this fact."""
        return self.name if key == "options" else key


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables to dotted keys."""
    result = {}
    for key, value in table.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result
