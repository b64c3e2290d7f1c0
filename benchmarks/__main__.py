"""`make bench`: every comparison, one after the other, or those that are named."""

from benchmarks import (
    assessment,
    corruptions,
    noise_kinds,
    phases,
    photographs,
    randaugment,
    scaling,
    streaming,
    student_pipeline,
    training_step,
    waiting,
)
from benchmarks.compare import compare

COMPARISONS = {
    "randaugment": randaugment.measure,
    "noise_kinds": noise_kinds.measure,
    "photographs": photographs.measure,
    "training_step": training_step.measure,
    "student_pipeline": student_pipeline.measure,
    "phases": phases.measure,
    "waiting": waiting.measure,
    "streaming": streaming.measure,
    "scaling": scaling.measure,
    "assessment": assessment.measure,
    "corruptions": corruptions.measure,
}

if __name__ == "__main__":
    compare(COMPARISONS)
