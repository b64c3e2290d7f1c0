"""What decides a training's result, by name: saved with it and compared before it is resumed."""

from dataclasses import dataclass
from typing import Any

from ruggedize.data import DataDigest
from ruggedize.training.options import TrainingOptions
from ruggedize.views.options import ViewOptions


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that a training depends on; the images themselves by their digest."""

    name: str  # of the training; its options are named after it: teacher.batch_size
    options: TrainingOptions
    views: ViewOptions
    data: DataDigest | None
    others: dict[str, Any]  # JSON: seed, parents, classes, ...

    def to_json(self) -> dict[str, Any]:
        """Return all facts as JSON."""
        return {
            "options": self.options.model_dump(mode="json"),
            "views": self.views.model_dump(mode="json"),
            "data": self.data and self.data.model_dump(mode="json"),
            **self.others,
        }

    def differing(self, saved: dict[str, Any]) -> list[str]:
        """Return the names of the facts in which a saved training differs from this one.

        Saved options are read through today's types, so that an option added since has its
        default. A fact that was not recorded at the time is not compared.

        Raises:
            KeyError, TypeError, ValueError: these facts are of a version that is not understood.
        """
        theirs = {key: value for key, value in saved.items() if key != "data"}
        if not holds_custom(saved):  # whose code is not in the file
            options = type(self.options).model_validate(saved["options"])
            views = ViewOptions.model_validate(saved["views"])
            known = Facts(name="", options=options, views=views, data=None, others={}).to_json()
            theirs |= {key: known[key] for key in ("options", "views")}
        ours = {key: value for key, value in self.to_json().items() if key in theirs}
        left, right = (
            flat({self.named(key): facts[key] for key in facts}) for facts in (ours, theirs)
        )
        return sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))

    def check_data(self, saved: dict[str, Any]) -> None:
        """Raise UserError if the data has changed since these facts were saved."""
        then = saved.get("data")
        if then and self.data:
            DataDigest.model_validate(then).check_unchanged(self.data, f"the {self.name}")

    def named(self, key: str) -> str:
        """Return what a user calls this fact."""
        return self.name if key == "options" else key


def holds_custom(table: Any) -> bool:
    """Whether options in JSON name a model, an objective or noise of the user's own."""
    if isinstance(table, dict):
        own = "custom" in (table.get("kind"), table.get("name"))
        return own or any(map(holds_custom, table.values()))
    return isinstance(table, list) and any(map(holds_custom, table))


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables to dotted keys."""
    result = {}
    for key, value in table.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result
