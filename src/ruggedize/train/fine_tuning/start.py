"""The weights that a training starts from: random, pretrained, or those of another model."""

import logging
from pathlib import Path
from typing import Any

from ruggedize.core import seeding
from ruggedize.core.errors import UserError
from ruggedize.core.files import sha256
from ruggedize.core.places import user_path
from ruggedize.data import Splits
from ruggedize.models import (
    Classifier,
    TimmOptions,
    copy_weights,
    create_model,
    find_pretrained,
    meta_model,
    model_file,
    pretrained_network,
    read_model_file,
    reject_other_network,
)
from ruggedize.train.options import TrainingOptions, names_stage
from ruggedize.views import ViewOptions

log = logging.getLogger(__name__)
Start = dict[str, Any]  # JSON: source, sha256, license, head


def fresh_model(
    data: Splits, views: ViewOptions, options: TrainingOptions, seed: int, name: str
) -> Classifier:
    """Return the classifier of a stage with its initial weights, pretrained ones included."""
    image_size = data.train.image_size
    model = create_model(
        options.model,
        classes=data.train.classes,
        image_size=image_size,
        input_size=views.input_size(image_size),
        seed=int(seeding.stream_key(seed, f"{name}/weights")),
        images=data.train.images,
    )
    model.fit = data.train.fit
    model.crop_pct, model.test_filter = views.crop_pct, views.test_filter
    return model


def load_start(
    name: str, model: Classifier, options: TrainingOptions, given: Path | str | None
) -> Start | None:
    """Load the weights that a stage starts from; return their source, or None if they are random.

    The head is kept if the other model has the same classes.

    Raises:
        UserError: there is no such file, or it is of another network or another normalisation.
    """
    if isinstance(options.model, TimmOptions) and options.model.pretrained:
        found = find_pretrained(options.model, f"{name}.model").to_json() | {"head": "new"}
        log_start(name, found)
        return found
    file = start_file(name, options, given)
    if file is None:
        return None
    description, weights = read_model_file(file)
    if (description.mean, description.std) != (model.mean, model.std):
        raise UserError(
            f"{name}.start: {file} normalises its images by {description.mean} and "
            f"{description.std}, but {name}.model by {model.mean} and {model.std};\n"
            f"set {name}.model to the network that the file was trained as"
        )
    keep_head = description.classes == model.classes
    copy_weights(weights, model.network, f"{name}.start: {file}", keep_head=keep_head)
    assert options.start
    source = options.start if names_stage(options.start) else file.name
    found: Start = {"source": source, "sha256": sha256(file), "license": None}
    found["head"] = "kept" if keep_head else "new"
    log_start(name, found)
    return found


def start_file(name: str, options: TrainingOptions, given: Path | str | None) -> Path | None:
    """Return the model file that a stage starts from: the given one if `start` names a stage."""
    if options.start is None:
        if given is not None:
            raise UserError(
                f"{name}: start={given} has no effect without the option start;\n"
                "set start in the options: a stage or a model file"
            )
        return None
    if names_stage(options.start):
        if given is None:
            raise UserError(
                f"{name}.start = {options.start!r} names a stage, whose model is not known here;\n"
                "pass its model file: train_stage(..., start=PATH)"
            )
        return user_path(given)
    return model_file(options.start)


def check_start(name: str, options: TrainingOptions, classes: tuple[str, ...], size: int) -> None:
    """Raise UserError unless pretrained weights and model files that a stage starts from fit it.

    Published weights are downloaded here, before anything is written. `size` is the input size.
    """
    if isinstance(options.model, TimmOptions) and options.model.pretrained:
        weights = find_pretrained(options.model, f"{name}.model")
        if isinstance(options.model.pretrained, str):  # a file of any network
            pretrained_network(options.model, size, weights)
    if options.start is None or names_stage(options.start):
        return
    file = model_file(options.start)
    description, weights = read_model_file(file)
    network = meta_model(options.model, len(classes), size)
    keep_head = description.classes == classes
    reject_other_network(weights, network, f"{name}.start: {file}", keep_head=keep_head)


def log_start(name: str, start: Start) -> None:
    """Log the source of the weights that a stage starts from."""
    head = "its head" if start["head"] == "kept" else "a new head for the classes of the data"
    license = f", licence {start['license']}" if start["license"] else ""
    log.info("%s: starting from %s%s, with %s", name, start["source"], license, head)
