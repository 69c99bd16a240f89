"""Run docs/notebook.ipynb and store its outputs: ``python docs/notebook.py``; tests run it, too.

The cells run in this process, without a kernel: a last expression is shown as Jupyter shows it.
"""

from __future__ import annotations

import ast
import base64
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

PATH = Path(__file__).with_name("notebook.ipynb")


def shown(value: Any) -> dict[str, Any]:
    """Return what a notebook stores of a value."""
    data: dict[str, Any] = {"text/plain": [repr(value)]}
    if hasattr(value, "_repr_png_"):
        png = value._repr_png_()
        picture = Image.open(io.BytesIO(png))
        if picture.mode == "RGB":  # a fifth of the size
            stream = io.BytesIO()
            picture.save(stream, "JPEG", quality=85)
            data["image/jpeg"] = base64.b64encode(stream.getvalue()).decode()
        else:
            data["image/png"] = base64.b64encode(png).decode()
    return data


def run(path: Path = PATH) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run all cells; return the notebook with the new outputs, and the names that it defined."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        count += 1
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, path.name, "exec"), names)
        cell["execution_count"], cell["outputs"] = count, []
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), path.name, "eval"), names)
            output = {"output_type": "execute_result", "execution_count": count, "metadata": {}}
            cell["outputs"] = [output | {"data": shown(value)}]
    return notebook, names


if __name__ == "__main__":
    text = json.dumps(run()[0], indent=1, ensure_ascii=False)
    PATH.write_text(text + "\n", encoding="utf-8")
