"""Study files: what they contain, and the epochs that a budget pays for."""

import tomllib
from pathlib import Path

import pytest

from ruggedize.core.errors import UserError
from ruggedize.models import AirbenchOptions, PreActResNet18Options, forward_flop
from ruggedize.recipe import Recipe, load_recipe
from ruggedize.study import Budget, PlannedRun, load_study, plan
from ruggedize.study.arithmetic import PETA, TrainingImages, epochs_within, work_of
from ruggedize.study.sharing import reuse_teachers, training_key
from ruggedize.train import images_in_epoch
from tests.foreign import with_timm
from tests.tiny_study import tiny_study

STUDIES = sorted((Path(__file__).parents[2] / "benchmarks" / "studies").glob("*.toml"))
IMAGES = TrainingImages(num_images=10_000, num_classes=10, image_size=32)


def planned(folder: Path, *changes: tuple[str, str]) -> dict[str, PlannedRun]:
    """Plan the tiny study with changes."""
    return {run.name: run for run in plan(load_study(tiny_study(folder, *changes)))}


def recipe_with(**student: object) -> Recipe:
    """Return cifar10-cpu with other options of the student."""
    return load_recipe("cifar10-cpu", tables=[{"student": student}])


def test_the_arithmetic_of_networks_is_that_of_the_literature() -> None:
    assert forward_flop(PreActResNet18Options(), 10, 32) == pytest.approx(1.11e9, rel=0.01)
    assert forward_flop(AirbenchOptions(), 10, 32) == pytest.approx(0.236e9, rel=0.01)
    assert forward_flop(AirbenchOptions(width=32), 10, 32) < 0.1e9


@pytest.mark.parametrize(
    ("student", "passes"),
    [
        ({"objective": "supervised", "views": "noisy"}, 3),
        ({"objective": "mean-teacher"}, 4),
        ({"objective": "jsd"}, 9),
        ({}, 4),  # consistency: the teacher sees every clean view
        ({"objective": {"clean_view": "drawn", "cached_targets": True}}, 3),
    ],
)
def test_a_step_counts_three_passes_and_a_look_of_the_teacher_one(
    student: dict[str, object], passes: int
) -> None:
    recipe = recipe_with(**student)
    each = 10_000 * forward_flop(recipe.student.model, 10, 32) / PETA
    work = work_of(recipe, IMAGES)
    assert work["student"].per_epoch == pytest.approx(passes * each)
    assert work["teacher"].per_epoch == pytest.approx(3 * each)
    once = 50 * each if "cached_targets" in str(student) else 0.0  # flips and crops by up to 2
    assert work["student"].once == pytest.approx(once)


@pytest.mark.parametrize(
    ("objective", "labelled", "unlabelled", "once"),
    [
        ("mean-teacher", 4, 4, 0),
        ("jsd", 9, 9, 0),
        ("fixmatch", 3, 6, 0),  # a weak and a strong view of each unlabelled image
        ({"kind": "fixmatch", "labels_from": "average"}, 4, 4, 0),
        ("noisy-student", 3, 3, 1),
        ("consistency", 4, 4, 0),
    ],
)
@pytest.mark.parametrize("steps", [None, 50])
def test_unlabelled_images_are_counted(
    objective: object, labelled: int, unlabelled: int, once: int, steps: int | None
) -> None:
    kind = objective if isinstance(objective, dict) else {"kind": objective}
    options = kind | {"unlabelled_ratio": 2}
    recipe = recipe_with(objective=options, batch_size=100, steps_per_epoch=steps)
    images = TrainingImages(4_000, 10, 32, num_unlabelled=46_000)
    each = forward_flop(recipe.student.model, 10, 32) / PETA
    seen = 4_000 if steps is None else 50 * 100
    work = work_of(recipe, images)["student"]
    assert work.per_epoch == pytest.approx(seen * (labelled + 2 * unlabelled) * each)
    assert work.once == pytest.approx(once * 46_000 * each)


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "steps", "seen"),
    [
        (40, 1_000, 10, (400, 1_000)),  # all 40 labels in each step
        (40, 1_000, None, (40, 100)),  # one step
        (250, 30, None, (250, 150)),  # five steps
        (101, 1_000, None, (100, 200)),  # no step for a single image
    ],
)
def test_images_are_counted_as_the_steps_take_them(
    labelled: int, unlabelled: int, steps: int | None, seen: tuple[int, int]
) -> None:
    objective = {"kind": "fixmatch", "unlabelled_ratio": 2}
    recipe = recipe_with(objective=objective, batch_size=50, steps_per_epoch=steps)
    found = images_in_epoch(recipe.student, labelled, unlabelled)
    assert found == {"labelled": seen[0], "unlabelled": seen[1]}


def test_targets_that_are_too_large_to_keep_are_counted_in_every_step() -> None:
    objective = {"clean_view": "drawn", "cached_targets": True}
    recipe = recipe_with(objective=objective)
    each = forward_flop(recipe.student.model, 1_000, 32) / PETA
    work = work_of(recipe, TrainingImages(5_000, 1_000, 32))["student"]
    assert (work.per_epoch, work.once) == pytest.approx((5_000 * 3 * each, 5_000 * 50 * each))
    work = work_of(recipe, TrainingImages(6_000, 1_000, 32))["student"]  # 1.2 GB
    assert (work.per_epoch, work.once) == pytest.approx((6_000 * 4 * each, 0.0))


def test_an_interpolation_may_teach() -> None:
    stages = {
        "wise": {"interpolate": "student", "start": "teacher"},
        "last": {"like": "student", "learns_from": "wise"},
    }
    recipe = load_recipe("cifar10-cpu", tables=[{"stages": stages}])
    work = work_of(recipe, IMAGES)
    assert work["last"].per_epoch == work["student"].per_epoch


def test_a_student_of_another_teacher_is_not_reused(tmp_path: Path) -> None:
    stages = {"next": {"like": "student", "learns_from": "student"}}
    recipe = load_recipe("demo", tables=[{"stages": stages}])
    first, second = (
        PlannedRun(arm=arm, seed=0, recipe=recipe, budget=None, work={}) for arm in ("a", "b")
    )
    for run, content in ((first, b"one"), (second, b"another")):
        (run.folder(tmp_path) / "teacher").mkdir(parents=True)
        (run.folder(tmp_path) / "teacher" / "model.safetensors").write_bytes(content)
    (first.folder(tmp_path) / "student").mkdir()
    (first.folder(tmp_path) / "student" / "model.safetensors").write_bytes(b"student")
    reuse_teachers(second, [first, second], tmp_path)
    assert not (second.folder(tmp_path) / "student").exists()
    (second.folder(tmp_path) / "teacher" / "model.safetensors").write_bytes(b"one")
    reuse_teachers(second, [first, second], tmp_path)
    assert (second.folder(tmp_path) / "student" / "model.safetensors").read_bytes() == b"student"


def test_a_probe_and_an_interpolation_are_counted() -> None:
    student = {"epochs": 6, "probe_epochs": 2}
    stages = {"wise": {"interpolate": "student", "start": "teacher"}}
    tables = [{"student": student, "stages": stages}]
    recipe = load_recipe("cifar10-cpu", ("teacher.epochs=4",), tables=tables)
    each = IMAGES.num_images * forward_flop(recipe.student.model, 10, 32) / PETA
    work = work_of(recipe, IMAGES)
    assert work["wise"].after(1) == 0.0
    student = work["student"]
    found = [student.after(epochs) / each for epochs in (0, 1, 2, 6)]
    assert found == pytest.approx([0, 2, 4, 20])  # the teacher looks in every epoch
    assert epochs_within(Budget(forward_epochs=32), recipe, IMAGES) == 6  # 4 * 3 + 20


def test_a_budget_in_forward_epochs_pays_for_the_epochs_of_the_issue() -> None:
    budget = Budget(forward_epochs=48)
    taught = load_recipe("cifar10-cpu", ("teacher.epochs=4",))
    assert epochs_within(budget, taught, IMAGES) == 9  # 4 * 3 + 9 * 4 = 48
    alone = load_recipe(
        "cifar10-cpu",
        tables=[
            {"without_teacher": True, "student": {"objective": "supervised", "views": "noisy"}}
        ],
    )
    assert epochs_within(budget, alone, IMAGES) == 16


def test_a_budget_in_pflop_is_that_of_any_number_of_images() -> None:
    recipe = load_recipe("cifar10-cpu")
    images = TrainingImages(num_images=49_000, num_classes=10, image_size=32)
    spent = sum(
        work.after(recipe.trainings[n].epochs) for n, work in work_of(recipe, images).items()
    )
    assert spent == pytest.approx(1.2, rel=0.02)  # as its header says
    assert epochs_within(Budget(pflop=1.205), recipe, images) == recipe.student.epochs
    assert epochs_within(Budget(pflop=0.6), recipe, images) < recipe.student.epochs


def test_a_budget_that_the_teacher_uses_up_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"arm taught: a budget of 6 forward-epochs leaves no epoch"
    ):
        planned(tmp_path, ("forward_epochs = 15", "forward_epochs = 6"))


def test_every_arm_has_the_same_arithmetic_at_most(tmp_path: Path) -> None:
    runs = planned(tmp_path)
    assert list(runs)[:4] == [
        "noise-only-seed0",
        "taught-seed0",
        "taught-cool-seed0",
        "noise-only-seed1",
    ]
    assert runs["noise-only-seed0"].recipe.student.epochs == 5
    assert runs["taught-seed0"].recipe.student.epochs == 3
    most = max(run.pflop for run in runs.values())
    assert all(0.9 * most <= run.pflop <= most for run in runs.values())


def test_an_arm_may_have_its_own_budget(tmp_path: Path) -> None:
    runs = planned(tmp_path, ("[arms.taught]", "[arms.taught]\nbudget = { forward_epochs = 27 }"))
    assert runs["taught-seed0"].recipe.student.epochs == 6
    assert runs["taught-cool-seed0"].recipe.student.epochs == 3


def test_an_arm_may_have_its_own_seeds(tmp_path: Path) -> None:
    runs = planned(tmp_path, ("[arms.taught]", "[arms.taught]\nseeds = [0, 7]"))
    assert list(runs) == [
        *("noise-only-seed0", "taught-seed0", "taught-cool-seed0"),
        *("noise-only-seed1", "taught-cool-seed1"),
        "taught-seed7",
    ]
    assert runs["taught-seed7"].recipe.seed == 7


def test_teachers_are_equal_for_the_same_options_and_seed_only(tmp_path: Path) -> None:
    runs = planned(
        tmp_path, ("temperature = 1.0 } }", "temperature = 1.0 } }\nteacher = { epochs = 1 }")
    )
    same, cool = runs["taught-seed0"].recipe, runs["taught-cool-seed0"].recipe
    assert training_key(same, "teacher") == training_key(cool, "teacher")
    assert training_key(same, "student") != training_key(cool, "student")
    other = runs["taught-seed1"].recipe
    assert training_key(same, "teacher") != training_key(other, "teacher")
    longer = cool.model_copy(update={"teacher": cool.teacher.model_copy(update={"epochs": 2})})
    assert training_key(longer, "teacher") != training_key(cool, "teacher")
    assert training_key(longer, "student") != training_key(cool, "student")  # taught by another


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("seeds = [0, 1]", "seeds = [1, 1]", "seeds must be distinct"),
        ("seeds = [0, 1]", "seeds = []", "at least 1"),
        ('baseline = "noise-only"', 'baseline = "noise"', "got noise;\nthe arms are noise-only"),
        ("{ forward_epochs = 15 }", "{ forward_epochs = 15, pflop = 1 }", "or pflop"),
        ("forward_epochs", "forward_epoch", "unknown entry;\ndid you mean forward_epochs?"),
        ("[arms.taught]", "[arms.taught]\nseeds = [0, 0]", "arms.taught.seeds: seeds must be"),
        ("[recipe.data]", "[recipes.data]", "recipes"),
        ("temperature = 1.0", "temprature = 1.0", "arm taught-cool"),
        ("[arms.taught]", "[arms.Taught]", "arms.Taught"),
        ("without_teacher = true", "without_teacher = 3", "arm noise-only"),
        ('objective = "supervised", views = "noisy"', "", "which without_teacher = true removes"),
    ],
)
def test_a_mistake_in_a_study_is_named(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    with pytest.raises(UserError) as error:
        planned(tmp_path, (before, after))
    assert message in str(error.value)


def test_paths_of_a_study_are_looked_up_next_to_it(tmp_path: Path) -> None:
    (tmp_path / "pictures" / "train" / "a").mkdir(parents=True)
    data = '[recipe.data]\nname = "pictures"\nimage_size = 16'
    path = tiny_study(tmp_path, ("[recipe.data]", data))
    recipe = load_study(path).recipe("taught", 0)
    assert recipe.data.name == str(tmp_path / "pictures")


def test_a_network_that_the_machine_would_choose_is_rejected(tmp_path: Path) -> None:
    with_timm()
    with pytest.raises(UserError, match=r'must be named in a study, got "auto";\nset teacher.mod'):
        planned(tmp_path, ("model = { width = 8 }\nepochs", 'model = "auto"\nepochs'))


def test_a_study_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no study"):
        load_study(tmp_path / "absent.toml")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_of_the_repository_are_valid(path: Path) -> None:
    with_timm()
    study = load_study(path)
    assert study.baseline in study.tables
    assert study.options.results == f"../results/studies/{study.name}"
    assert tomllib.loads(path.read_text())["seeds"] == list(range(len(study.options.seeds)))
    for arm, budget in study.budgets.items():
        recipe = study.recipe(arm, 0)
        validation = recipe.data.validation
        all_images = 50_000 - int(validation)
        num_train = recipe.data.num_train or recipe.data.num_labels or all_images
        if "four-classes" in path.stem:
            num_train = round(4 * int(path.stem.rpartition("-")[2]) * (1 - validation))
        images = TrainingImages(num_train, 10, 32, num_unlabelled=all_images - num_train)
        assert budget is not None
        assert epochs_within(budget, recipe, images) >= 4, arm
        assert validation == (0.2 if "four-classes" in path.stem else 5_000)
