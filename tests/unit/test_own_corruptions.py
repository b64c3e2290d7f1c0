"""A corruption of one's own: an object that is passed to `corrupt` or to a suite."""

import re
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from ruggedize.assess import AssessOptions, assess
from ruggedize.core.errors import UserError
from ruggedize.core.seeding import image_generator
from ruggedize.corruptions import (
    CORRUPTIONS,
    Corruption,
    chosen_names,
    corrupt,
    export_suite,
    generated_suite,
)
from ruggedize.corruptions.names import ALL
from ruggedize.corruptions.options import OPTIONS
from tests.tiny_assessment import FP32, tiny_images, tiny_models

PROCEDURAL = {"frost": {"textures": "procedural"}}


def darken(images: np.ndarray, out: np.ndarray, factor: float) -> None:
    out[:] = images / factor


def scatter(images, out, number, colour, stream, indices) -> None:
    out[:] = images
    for target, index in zip(out, indices, strict=True):
        rows, columns = image_generator(stream, index).integers(0, 20, (2, number))
        target[:, rows, columns] = colour


def dots(level, height, width, colour="black"):
    return int(level), 255 * (colour == "white")


def lens_is_there(options: dict[str, str]) -> None:
    if options["colour"] == "white":
        raise UserError("white dots need a lens; fetch one")


DARK = Corruption(name="dark", cifar=(1.5, 2, 3, 4, 5), imagenet=(2, 3, 4, 5, 6), kernel=darken)
DOTS = Corruption(
    name="dots",
    cifar=(5, 10, 20, 40, 80),
    kernel=scatter,
    prepare=dots,
    random=True,
    options={"colour": ("black", "white")},
    check=lens_is_there,
)


def test_the_kernel_gets_the_level_of_the_severity_and_preset(small_images: torch.Tensor) -> None:
    def expected(factor: float) -> torch.Tensor:
        return torch.from_numpy((small_images.numpy() / factor).astype(np.uint8))

    assert torch.equal(corrupt(small_images, DARK, 2), expected(2))
    assert torch.equal(corrupt(small_images, DARK, 2, preset="imagenet"), expected(3))
    assert not torch.equal(corrupt(small_images, DARK, 2), expected(3))


def test_random_draws_belong_to_seed_name_severity_and_index(small_images: torch.Tensor) -> None:
    whole = corrupt(small_images, DOTS, 3, seed=1)
    parts = [corrupt(small_images[i : i + 5], DOTS, 3, seed=1, start=i) for i in range(0, 24, 5)]
    assert torch.equal(torch.cat(parts), whole)
    renamed = Corruption(name="spots", cifar=DOTS.cifar, kernel=scatter, prepare=dots, random=True)
    assert not torch.equal(corrupt(small_images, DOTS, 3, seed=2), whole)
    assert not torch.equal(corrupt(small_images, renamed, 3, seed=1), whole)
    assert not torch.equal(corrupt(small_images[5:10], DOTS, 3, seed=1), parts[1])


def test_options_reach_the_kernel_and_the_first_value_is_the_default(
    small_images: torch.Tensor,
) -> None:
    black = corrupt(small_images, DOTS, 5, options={"colour": "black"})
    assert torch.equal(corrupt(small_images, DOTS, 5), black)
    white = corrupt(small_images, DOTS, 5, options={"colour": "white"})
    assert not torch.equal(white, black)
    with pytest.raises(ValueError, match=r"dots\.colour must be black or white, got 'red'"):
        corrupt(small_images, DOTS, 5, options={"colour": "red"})


def test_a_suite_holds_it_after_the_published_ones(small_images: torch.Tensor) -> None:
    suite = generated_suite(small_images, seed=4, extra=(DOTS, DARK))
    assert suite.corruptions == (*ALL, "dots", "dark")
    found = suite.images("dots", 2, 0, 24)
    assert torch.equal(found, corrupt(small_images, DOTS, 2, seed=4))
    facts = suite.describe()
    assert facts["dots.colour"] == "black"
    assert "dots (5, 10, 20, 40, 80)" in facts["own corruptions"]
    assert "own corruptions" not in generated_suite(small_images).describe()
    with pytest.raises(ValueError, match="unknown corruption dot; did you mean dots"):
        suite.images("dot", 2, 0, 24)


def test_what_it_needs_is_asked_for_before_any_work(small_images: torch.Tensor) -> None:
    options = PROCEDURAL | {"dots": {"colour": "white"}}
    suite = generated_suite(small_images, extra=(DOTS, DARK), options=options)
    with pytest.raises(UserError, match="need a lens"):
        chosen_names(suite, None)
    assert chosen_names(suite, ("dark", "fog")) == ["fog", "dark"]
    black = generated_suite(small_images, extra=(DOTS,), options=PROCEDURAL)
    assert chosen_names(black, None) == [*ALL, "dots"]


def test_no_summary_of_the_published_ones_counts_it(tmp_path: Path) -> None:
    image_set, models = tiny_images(12), tiny_models()
    alone, with_own = (
        assess(
            models,
            image_set,
            generated_suite(image_set.images, options=PROCEDURAL, extra=extra),
            FP32,
        ).assessment.models["student"]
        for extra in ((), (DARK,))
    )
    assert {cell.corruption for cell in with_own.cells} == {*ALL, "dark"}
    for name in ("clean", "severity5_top1", "c15", "c19"):
        assert with_own.summary[name] == alone.summary[name] is not None
        if name != "clean":
            assert with_own.coverage[name] == alone.coverage[name]
    assert with_own.coverage["present_mean"] != alone.coverage["present_mean"]


def test_it_is_assessed_by_its_name() -> None:
    image_set = tiny_images(12)
    suite = generated_suite(image_set.images, extra=(DARK,))
    options = FP32.model_copy(update={"corruptions": ("dark",), "severities": (1, 5)})
    found = assess(tiny_models(), image_set, suite, options).assessment
    assert {cell.corruption for cell in found.models["student"].cells} == {"dark"}
    assert found.suite_facts == suite.describe()
    with pytest.raises(UserError, match=r"no corruption drak;\ndid you mean dark\?"):
        assess(tiny_models(), image_set, suite, AssessOptions(corruptions=("drak",)))


def test_a_written_suite_is_gone_on_with_under_the_same_options_only(tmp_path: Path) -> None:
    image_set = tiny_images(6)

    def write(options: dict[str, dict[str, str]], *names: str) -> None:
        suite = generated_suite(image_set.images, options=options, extra=(DARK,))
        export_suite(suite, image_set, tmp_path, data="tiny", corruptions=names)

    write(PROCEDURAL, "dark")
    write(PROCEDURAL, "dark", "fog")
    assert {path.stem for path in tmp_path.glob("*.npy")} == {"dark", "fog", "labels"}
    with pytest.raises(UserError, match=r"differ in frost\.textures"):
        write({}, "fog")


def fog_and_contrast(images: np.ndarray, out: np.ndarray, level: float) -> None:
    foggy = corrupt(torch.from_numpy(images.copy()), "fog", 2)
    out[:] = corrupt(foggy, "contrast", int(level)).numpy()


def test_a_kernel_may_call_corrupt() -> None:
    """Its blocks run in the threads of the pool, which must not wait for one another."""
    both = Corruption(name="both", cifar=(1, 2, 3, 4, 5), kernel=fog_and_contrast)
    images = torch.randint(0, 256, (400, 3, 32, 32), dtype=torch.uint8)
    program = threading.Thread(target=corrupt, args=(images, both, 3), daemon=True)
    program.start()
    program.join(60)
    assert not program.is_alive()


def test_mistakes_are_named(small_images: torch.Tensor) -> None:
    def make(**given) -> Corruption:
        return Corruption(**({"name": "dark", "cifar": DARK.cifar, "kernel": darken} | given))

    for name in ("Dark", "clean", "labels", "a/b", ""):
        with pytest.raises(ValueError, match=f"lower-case letters.*got {re.escape(repr(name))}"):
            make(name=name)
    with pytest.raises(ValueError, match="cifar must have 5 levels, got 2"):
        make(cifar=(1, 2))
    with pytest.raises(ValueError, match="imagenet must have 5 levels, got 6"):
        make(imagenet=(1, 2, 3, 4, 5, 6))
    with pytest.raises(ValueError, match=r"dark\.colour must have values"):
        make(options={"colour": ()})
    for extra in ((make(name="fog"),), (DARK, DARK)):
        with pytest.raises(ValueError, match="already exists"):
            generated_suite(small_images, extra=extra)
    with pytest.raises(ValueError, match="unknown corruption frots; did you mean frost"):
        generated_suite(small_images, options={"frots": {}})
    with pytest.raises(ValueError, match="dark has no option colour; it has none"):
        generated_suite(small_images, extra=(DARK,), options={"dark": {"colour": "red"}})


def test_the_table_without_torch_holds_the_options_of_the_rows() -> None:
    assert {name: row.options for name, row in CORRUPTIONS.items() if row.options} == OPTIONS
    assert all(row.name == name for name, row in CORRUPTIONS.items())
