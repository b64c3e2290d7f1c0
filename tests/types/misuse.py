"""Misuses of the public API: a type checker must object to every line that ends in `# error`."""

from pathlib import Path

from torch import Tensor, nn

from ruggedize import (
    Classifier,
    ImageSet,
    Predictor,
    corrupt,
    generated_suite,
    load_data,
    load_recipe,
    randaugment,
    train_student,
    train_teacher,
)
from ruggedize.assess import AssessOptions, assess
from ruggedize.train import TrainingOptions
from ruggedize.views import ViewOptions


def misuse(images: Tensor, some: ImageSet, model: Classifier, folder: Path) -> None:
    recipe, data = load_recipe("demo"), load_data("digits")
    train_student(1, 2, wrong=3)  # error
    train_teacher(data, recipe.views, recipe, folder)  # error
    train_teacher(data, recipe.views, recipe.teacher, folder, seed="0")  # error
    corrupt(images, "fog", severity="3")  # error
    corrupt(some, "fog", severity=3)  # error
    randaugment(images, seed=0, semantics="keras")  # error
    generated_suite(data.test)  # error
    assess([model], data.test, generated_suite(data.test.images))  # error
    print(assess({"mine": model}, data.test, generated_suite(images)).summary)  # error
    print(model.predict(images).label)  # error
    print(data.training)  # error
    print(some.take([0]).classes)  # error
    print(recipe.student.objective.temprature)  # error
    AssessOptions(severities=5)  # error
    Predictor(nn.Identity(), mean=0.5, std=0.5)  # error
    Predictor(nn.Identity(), input_sise=224)  # error
    ViewOptions(geometry="same")  # error
    TrainingOptions(epochs=3)  # error
    load_data("digits", image_sise=32)  # error
