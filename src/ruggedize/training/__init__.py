"""One loop, two objectives: teachers on clean views, students on noisy ones."""

from ruggedize.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "StudentOptions": "options",
        "TrainingOptions": "options",
        "refuse_smaller": "student",
        "refuse_untrainable": "job",
        "train_student": "student",
        "train_teacher": "teacher",
    },
)
