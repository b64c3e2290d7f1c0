"""A study of seconds: three arms on digits, two of which have the same teacher."""

from pathlib import Path

TINY = """# A study that takes seconds
base = "demo"
seeds = [0, 1]
baseline = "noise-only"
budget = { forward_epochs = 15 }

[recipe.data]
validation = 40
num_train = 192

[recipe.teacher]
model = { width = 8 }
epochs = 1
averaging = "none"

[recipe.student]
model = { width = 8 }
averaging = "none"

[recipe.assess]
num_images = 40
corruptions = ["brightness", "contrast"]
severities = [5]

[arms.noise-only]
without_teacher = true
student = { objective = "supervised", views = "noisy" }

[arms.taught]

[arms.taught-cool]
student = { objective = { temperature = 1.0 } }
"""


def tiny_study(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the study, with texts replaced, and return its path."""
    text = TINY
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.toml"
    path.write_text(text)
    return path
