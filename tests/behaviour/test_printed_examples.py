"""Every block of README and docs/ that is marked to run does, as it is printed."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from ruggedize import load_data
from tests.foreign import with_timm
from tests.printed_examples import Example, examples_of, run_example

ROOT = Path(__file__).resolve().parents[2]
MODULE = """
from torch import nn

def pets():
    return nn.Sequential(nn.AvgPool2d(32), nn.Flatten(), nn.Linear(3 * 7 * 7, 2))
"""
SOURCE = "tutorial.source.md"  # runs as a notebook, in test_tutorial.py
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARKED = {
    str(page.relative_to(ROOT)): examples
    for page in PAGES
    if page.name != SOURCE and (examples := examples_of(page))
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with the photos and the network that the examples mention."""
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    for split, number in (("train", 40), ("test", 8), ("unlabelled", 50)):
        for place, name in enumerate(("cats", "dogs")):
            target = tmp_path / "photos" / split / name
            target.mkdir(parents=True)
            for image in range(number):
                pixels = torch.randint(
                    90 * place, 90 * place + 160, (70, 80, 3), generator=generator
                )
                Image.fromarray(pixels.byte().numpy()).save(target / f"{image}.png")
    (tmp_path / "new-images").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "new-images" / "one.png")
    (tmp_path / "mymodels.py").write_text(MODULE)
    return tmp_path


@pytest.mark.more
@pytest.mark.parametrize("page", MARKED)
def test_the_examples_of_a_page_run_as_printed(
    page: str,
    folder: Path,
    small_images: torch.Tensor,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_timm()  # and with it transformers, which imports torchvision as well
    values = {"images": small_images, "test": load_data("digits").test.select(torch.arange(8))}
    before = set(folder.rglob("*"))
    for example in MARKED[page]:
        if "cifar10" in example.given:
            monkeypatch.setenv("RUGGEDIZE_DATA", str(request.getfixturevalue("cifar10_root")))
        run_example(example, values)
    assert set(folder.rglob("*")) - before, "they left nothing"


def test_all_kinds_of_pages_have_examples() -> None:
    expected = {"README.md", "docs/extending.md", "docs/corruptions.md", "docs/howto/photos.md"}
    assert expected <= MARKED.keys()
    languages = {example.language for found in MARKED.values() for example in found}
    assert languages == {"python", "toml", "console"}


def test_an_example_that_fails_is_noticed(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run_example(Example("page.md", 1, "python", "1 / 0", ()), {})
    with pytest.raises(AssertionError, match=r"page\.md:1"):
        run_example(Example("page.md", 1, "console", "$ ruggedize runs demo\n", ()), {})
