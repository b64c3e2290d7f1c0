"""Build docs/tutorial.ipynb from docs/tutorial.source.md: `python -m docs.notebook`.

A code block under `<!-- runs -->` becomes a code cell and is executed. A block under
`<!-- cifar-10 -->` is the variant for CIFAR-10 of the cell before it, and is not executed.
"""

import ast
import base64
import contextlib
import io
import json
import re
import tempfile
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parent / "tutorial.source.md"
NOTEBOOK = Path(__file__).parent / "tutorial.ipynb"
BLOCK = re.compile(r"<!-- (runs|cifar-10) -->\n```python\n(.*?)\n```\n", re.DOTALL)
VARIANT = "cifar-10"
TABS = '=== "Digits"\n\n{}\n\n=== "CIFAR-10"\n\n{}\n'

Cell = dict[str, Any]


def cells_of(source: str) -> list[Cell]:
    """Return the cells of a notebook, without outputs."""
    cells, end = [], 0
    for block in BLOCK.finditer(source):
        cells += markdown_cells(source[end : block.start()])
        code, end = block[2], block.end()
        if block[1] == VARIANT:
            cells += markdown_cells(f"On CIFAR-10:\n\n```python\n{code}\n```", tags=[VARIANT])
        else:
            cells.append(
                {
                    "cell_type": "code",
                    "execution_count": None,
                    "metadata": {},
                    "outputs": [],
                    "source": code,
                }
            )
    cells += markdown_cells(source[end:])
    return [{"id": f"cell-{number}"} | cell for number, cell in enumerate(cells)]


def markdown_cells(text: str, **metadata: list[str]) -> list[Cell]:
    """Return a cell of prose, or none if there is no text."""
    cell = {"cell_type": "markdown", "metadata": metadata, "source": text.strip()}
    return [cell] if text.strip() else []


def execute(cells: list[Cell]) -> None:
    """Run the code cells in order, in an empty folder, and store their outputs."""
    names: dict[str, Any] = {"__name__": "tutorial"}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        code_cells = [cell for cell in cells if cell["cell_type"] == "code"]
        for number, cell in enumerate(code_cells, 1):
            cell["execution_count"] = number
            cell["outputs"] = outputs_of(cell["source"], names, number)


def outputs_of(code: str, names: dict[str, Any], number: int) -> list[Cell]:
    """Run one cell; return what it printed and the value of its last expression."""
    tree, value, printed = ast.parse(code), None, io.StringIO()
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
    outputs: list[Cell] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue()})
    if value is not None:
        data = shown(value)
        outputs.append(
            {
                "output_type": "execute_result",
                "execution_count": number,
                "metadata": {},
                "data": data,
            }
        )
    return outputs


def shown(value: Any) -> dict[str, str]:
    """Return what a notebook shows of a value: a picture if it is one, else its text."""
    if not hasattr(value, "_repr_png_"):
        return {"text/plain": repr(value)}
    file = io.BytesIO()
    value.quantize(64).save(file, "PNG", optimize=True)  # a third of the size, no visible loss
    return {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": "a picture"}


def notebook_text(cells: list[Cell]) -> str:
    """Return the notebook's file."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def page_of(notebook: dict[str, Any]) -> str:
    """Return the notebook as a Markdown page; a cell and its variant become tabs."""
    parts, cells = [], notebook["cells"]
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        if cell["cell_type"] == "markdown":
            if VARIANT not in cell["metadata"].get("tags", ()):
                parts.append(cell["source"])
            continue
        code = f"```python\n{cell['source']}\n```"
        if following and VARIANT in following["metadata"].get("tags", ()):
            variant = following["source"].partition("\n\n")[2]
            code = TABS.format(indented(code), indented(variant))
        parts += [code, *map(output_text, cell["outputs"])]
    return "\n\n".join(parts) + "\n"


def indented(text: str) -> str:
    """Indent a block as the content of a tab."""
    return "\n".join(f"    {line}" if line else line for line in text.splitlines())


def output_text(output: Cell) -> str:
    """Return an output as Markdown."""
    if picture := output.get("data", {}).get("image/png"):
        return f"![output of the cell](data:image/png;base64,{picture})"
    text = output.get("text") or output["data"]["text/plain"]
    return f"```text\n{text.rstrip()}\n```"


def reuse_outputs(cells: list[Cell], former: list[Cell]) -> bool:
    """Copy the outputs of a notebook with the same code; return whether it has the same code."""
    pair = [[cell for cell in some if cell["cell_type"] == "code"] for some in (cells, former)]
    if [cell["source"] for cell in pair[0]] != [cell["source"] for cell in pair[1]]:
        return False
    for cell, old in zip(*pair, strict=True):
        cell |= {key: old[key] for key in ("execution_count", "outputs")}
    return True


def main() -> None:
    """Write the notebook; execute it, which takes minutes, unless only the prose has changed."""
    cells = cells_of(SOURCE.read_text())
    former = json.loads(NOTEBOOK.read_text())["cells"] if NOTEBOOK.exists() else []
    if not reuse_outputs(cells, former):
        execute(cells)
    NOTEBOOK.write_text(notebook_text(cells))


if __name__ == "__main__":
    main()
