"""Steps and images of an epoch. Does not import torch."""

from ruggedize.train.options import TrainingOptions

REFRESH_IMAGES = 2_500  # at most, for the batch-norm statistics of a network at an epoch's end


def steps_per_epoch(options: TrainingOptions, num_labelled: int, num_groups: int) -> int:
    """Return the number of steps of an epoch, without a last batch too small for batch norm.

    Args:
        options: of the training.
        num_labelled: number of labelled images.
        num_groups: number of groups that batch norm normalises separately, over all processes.
    """
    if options.steps_per_epoch is not None:
        return options.steps_per_epoch
    num_full, remainder = divmod(num_labelled, options.batch_size)
    return num_full + (remainder >= 2 * num_groups)


def images_in_epoch(
    options: TrainingOptions, num_labelled: int, num_unlabelled: int
) -> dict[str, int]:
    """Return how many images of each source an epoch sees in one process.

    A source with fewer images than its share of a step is used once in every step.
    """
    steps = steps_per_epoch(options, num_labelled, options.ghost_batches)
    labelled = steps * min(num_labelled, options.batch_size)
    if options.steps_per_epoch is None:  # the last batch may be smaller
        labelled = min(num_labelled, steps * options.batch_size)
    share = options.batch_size * options.objective.unlabelled_ratio
    return {"labelled": labelled, "unlabelled": steps * min(num_unlabelled, share)}
