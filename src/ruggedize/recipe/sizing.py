"""Sizes of a training by the number of images: a fixed rule, and what few images cannot show."""

import math
from typing import NamedTuple

FEWEST = 50  # images per class
CANDIDATES = (  # of timm, from few to many operations; all have published safetensors weights
    "mobilenetv3_small_100.lamb_in1k",
    "mobilenetv3_large_100.ra_in1k",
    "resnet18.a1_in1k",
    "resnet50.a1_in1k",
    "convnext_tiny.fb_in1k",
)
UNKNOWN_IMAGES = 1000  # assumed if the data cannot be counted before it is loaded
VIEWS_PER_TEACHER, VIEWS_PER_STUDENT = 20_000, 40_000  # in all epochs together, where limits allow
TEACHER_EPOCHS, STUDENT_EPOCHS = (4, 30), (8, 60)  # fewest and most
BATCH_SIZES = (8, 64)  # smallest and largest
STEPS_PER_EPOCH = 20  # at least, where the smallest batch allows
SIDES = ((20_000, 224), (100_000, 160))  # up to how many images views have this many pixels
SMALLEST_SIDE = 128
SHARES = ((1000, 0.2), (20_000, 0.1))  # up to how many images this share is for validation
SMALLEST_SHARE = 0.05


class Sizes(NamedTuple):
    """Sizes of a training."""

    image_size: int
    validation: float
    batch_size: int
    teacher_epochs: int
    student_epochs: int


def sizes_for(num_images: int) -> Sizes:
    """Return the sizes for a number of images, validation images included.

    Deviation: the limits are conventions of fine-tuning, not measured on any data.
    """
    validation = next((share for most, share in SHARES if num_images <= most), SMALLEST_SHARE)
    num_train = max(1, round((1 - validation) * num_images))
    batch_size = 1 << max(0, int(math.log2(max(1, num_train / STEPS_PER_EPOCH))))
    return Sizes(
        image_size=next((side for most, side in SIDES if num_images <= most), SMALLEST_SIDE),
        validation=validation,
        batch_size=within(batch_size, BATCH_SIZES),
        teacher_epochs=within(VIEWS_PER_TEACHER // num_train, TEACHER_EPOCHS),
        student_epochs=within(VIEWS_PER_STUDENT // num_train, STUDENT_EPOCHS),
    )


def within(value: int, limits: tuple[int, int]) -> int:
    """Return the value, or the limit that it exceeds."""
    return min(max(value, limits[0]), limits[1])


def note_on_few(classes: dict[str, int], num_test: int) -> str | None:
    """Return what cannot be concluded if a class has fewer than 50 images; else None.

    Args:
        classes: number of images to train and validate on, by class.
        num_test: number of test images of all classes.
    """
    name = min(classes, key=lambda each: classes[each])
    if classes[name] >= FEWEST:
        return None
    whole, single = half_width(num_test), half_width(num_test / len(classes))
    return (
        f"{name} has only {classes[name]} images to train on (fewer than {FEWEST}). With "
        f"{num_test:,} test images, the 95 % interval of an accuracy of 90 % is ±{whole:.1f} "
        f"points, and ±{single:.1f} points for one class: a smaller difference does not show that "
        "one model is better, and another seed may reverse it. Validation images are few, too, "
        "so it depends largely on chance which weights are delivered"
    )


def half_width(num_images: float, accuracy: float = 0.9) -> float:
    """Return half the width of the 95 % normal interval of an accuracy, in percentage points."""
    return 196 * math.sqrt(accuracy * (1 - accuracy) / max(1.0, num_images))
