"""Accuracy on held-out training images under corruptions outside the benchmark, for selection."""

from accelerate import Accelerator

from ruggedize.assess import GENERATED, AssessmentResult, assess
from ruggedize.core.progress import Progress
from ruggedize.corruptions import EXTRA, SEVERITIES, generated_suite
from ruggedize.data import Splits
from ruggedize.models import Classifier
from ruggedize.recipe import Recipe


def assess_validation(
    models: dict[str, Classifier],
    recipe: Recipe,
    data: Splits,
    accelerator: Accelerator,
    progress: Progress,
) -> AssessmentResult:
    """Assess models on the validation images, clean and under the four extra corruptions.

    Recipes are chosen by the result, so that no choice uses test images or the fifteen corruptions
    of the benchmark.
    """
    given = recipe.assess.corruption_options
    suite = generated_suite(
        data.validation.images,
        seed=recipe.seed,
        preset=recipe.assess.preset,
        options={name: given[name] for name in EXTRA if name in given},
    )
    cells = {"corruptions": EXTRA, "severities": SEVERITIES, "num_images": None}
    options = recipe.assess.model_copy(update={"suite": GENERATED, **cells})
    for model in models.values():
        model.to(accelerator.device)
    return assess(
        models, data.validation, suite, options, accelerator=accelerator, progress=progress
    )
