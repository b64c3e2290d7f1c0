"""Bad files for every reader: whole ones that are damaged at random places."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from hypothesis import strategies as st
from PIL import Image

from ruggedize.core.tables import flat
from ruggedize.data.cifar import Layout
from ruggedize.models import WideResNetOptions, create_model, save_model
from ruggedize.recipe import load_recipe, shipped_recipes
from ruggedize.recipe.reading import SHIPPED
from tests.fuzz.damage import damaged

Case = st.SearchStrategy[Any]

NAMES = sorted(shipped_recipes())
KEYS = sorted({key for n in NAMES for key in flat(load_recipe(n).model_dump(exclude_none=True))})
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 40) | st.floats()
WORDS = st.sampled_from(
    [
        *("none", "ema", "swa", "sgd", "adam", "cosine", "plateau", "resnet9", "wide_resnet"),
        *("kind", "name", "every", "model", "randaugment", "demo"),
        *("recipe.toml", "..", "/", "\0", "x" * 5000),
    ]
)
TEXTS = st.text(max_size=8) | WORDS
VALUES = st.recursive(
    NUMBERS | TEXTS | st.booleans() | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
PATHS = st.sampled_from(KEYS) | st.lists(TEXTS, min_size=1, max_size=10).map(".".join)


def recipes() -> Case:
    """Return recipes as bytes: a base under strange values, or a shipped one with damaged bytes."""
    files = [(SHIPPED / f"{name}.toml").read_bytes() for name in NAMES]
    settings = st.dictionaries(PATHS, VALUES, max_size=4)
    tables = st.tuples(st.sampled_from(["demo", "keras-example"]) | VALUES, settings)
    return tables.map(written) | st.one_of([damaged(file) for file in files])


def written(parts: tuple[Any, dict[str, Any]]) -> bytes:
    """Write a base and dotted settings as TOML; later settings replace what stands in their way."""
    base, settings = parts
    table: dict[str, Any] = {"base": base}
    for path, value in settings.items():
        *above, last = path.split(".")
        place = table
        for key in above:
            below = place.get(key)
            place[key] = below if isinstance(below, dict) else {}
            place = place[key]
        place[last] = value
    return tomli_w.dumps(table).encode("utf-8", "surrogatepass")


def changes() -> Case:
    """Return what `--set` may be followed by, up to three times."""
    values = (
        NUMBERS.map(str) | TEXTS | st.sampled_from(["[" * 5000, "{kind='ema'}", "nan", "1e999"])
    )
    settings = st.tuples(PATHS, values).map("=".join)
    return st.lists(settings | TEXTS, max_size=3).map(tuple)


def cifar_files(layout: Layout) -> dict[str, bytes]:
    """Return small whole files, by name."""
    sizes = dict.fromkeys(layout.train, layout.num_train) | dict.fromkeys(
        layout.test, layout.num_test
    )
    files = {
        name: bytes([3, *[100] * (layout.record - 1)]) * number for name, number in sizes.items()
    }
    return files | {layout.classes_file: "\n".join(layout.classes or ()).encode()}


def damaged_cifar_files(whole: dict[str, bytes]) -> Case:
    """Damage one or two of the files, at times without changing their length."""

    def one(name: str) -> Case:
        content = whole[name]
        same_length = damaged(content).map(
            lambda data: data[: len(content)].ljust(len(content), b"\1")
        )
        return st.tuples(st.just(name), damaged(content) | same_length)

    either = st.sampled_from(sorted(whole)).flatmap(one)
    return st.lists(either, min_size=1, max_size=2).map(dict)


def images() -> list[bytes]:
    """Return whole images of every format and several modes."""
    grain = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    picture, files = Image.fromarray(grain), []
    modes = {"PNG": ("RGB", "RGBA", "P", "1", "I;16"), "JPEG": ("RGB", "CMYK", "L")}
    modes |= {"WEBP": ("RGB", "RGBA"), "BMP": ("RGB", "P", "1")}
    for kind, possible in modes.items():
        for mode in possible:
            file = io.BytesIO()
            exif = Image.Exif()
            exif[0x0112] = 6
            settings = {} if kind == "BMP" else {"exif": exif}
            grey = picture.convert("L") if mode == "I;16" else picture
            grey.convert(mode).save(file, kind, **settings)
            files.append(file.getvalue())
    return files


def model_file(path: Path) -> bytes:
    """Write a tiny model; give the file's bytes."""
    options = WideResNetOptions(depth=10, width=1)
    save_model(create_model(options, ("a", "b"), 32, 32, seed=0), path, {"teacher": "ab12"})
    return path.read_bytes()


def damaged_header(whole: bytes) -> Case:
    """Change what a safetensors file says of its tensors and of itself; the JSON stays valid."""
    length = int.from_bytes(whole[:8], "little")
    header, weights = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    names = sorted(header)
    lies = st.tuples(
        st.sampled_from(names) | TEXTS,
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(
                    ["F32", "F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3"]
                ),
                "shape": st.lists(st.integers(-1, 2**62) | st.integers(0, 64), max_size=5),
                "data_offsets": st.tuples(st.integers(-1, 2**62), st.integers(0, len(weights))),
            }
        )
        | VALUES,
    )
    tensors = [name for name in names if name != "__metadata__"]
    likely = st.tuples(
        st.sampled_from(tensors), st.sampled_from(["F32", "I32", "U32"]), st.booleans()
    )
    (key,) = header["__metadata__"]
    said = json.loads(header["__metadata__"][key])
    stories = st.tuples(st.sampled_from(sorted(said)) | TEXTS, VALUES)
    metadata = stories.map(lambda story: {key: spelled(said | {story[0]: story[1]})})
    metadata |= st.dictionaries(TEXTS | st.just(key), TEXTS, max_size=2)
    faults = likely.map(lambda lie: header | {lie[0]: relabelled(header[lie[0]], *lie[1:])})
    faults |= lies.map(lambda lie: header | {lie[0]: lie[1]}) | metadata.map(
        lambda story: header | {"__metadata__": story}
    )
    return faults.map(
        lambda content: packed(spelled(content).encode("utf-8", "surrogatepass"), weights)
    )


def relabelled(entry: dict[str, Any], dtype: str, turned: bool) -> dict[str, Any]:
    """Declare that a tensor's bytes are other numbers, or lie in another order."""
    shape = entry["shape"][::-1] if turned else entry["shape"]
    return entry | {"shape": shape} | ({"dtype": dtype} if entry["dtype"] == "F32" else {})


def spelled(content: Any) -> str:
    """Write JSON, dates as text."""
    return json.dumps(content, default=str)


def packed(header: bytes, weights: bytes) -> bytes:
    """Assemble a safetensors file."""
    return len(header).to_bytes(8, "little") + header + weights
