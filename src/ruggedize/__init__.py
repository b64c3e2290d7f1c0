"""Train and test image classifiers that withstand noise, blur, weather and compression."""

from ruggedize.lazy import exports

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Classifier": "models",
        "CORRUPTIONS": "corruptions",
        "ImageSet": "data",
        "Recipe": "recipe",
        "UserError": "runs",
        "corrupt": "corruptions",
        "generated_suite": "corruptions",
        "load_data": "data",
        "load_model": "models",
        "load_recipe": "recipe",
        "randaugment": "views",
        "run": "chain",
        "train_student": "training",
        "train_teacher": "training",
        "write_report": "report",
    },
)
