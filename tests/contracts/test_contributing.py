"""The worked examples of CONTRIBUTING.md work as they stand there."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```python\n# (\S+?)(?:, in (\w+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks() -> list[tuple[str, str, str]]:
    """The file, the table in it or nothing, and the code of each block of the page that names a file."""
    return [(file, table or "", code) for file, table, code in _BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text())]


def placed(module: str, table: str, code: str) -> str:
    """A module with the imports of an example after its own, and its entry at the end of a table."""
    imports, _, entry = code.strip().rpartition("\n\n")
    body = ast.parse(module).body
    (value,) = (
        node.value
        for node in body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        and ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target) == table
    )
    if isinstance(value, ast.DictComp):  # its entries are those of the tuple that it goes through
        value = value.generators[0].iter
    assert isinstance(value, (ast.Dict, ast.Tuple, ast.List))
    lines = module.splitlines(keepends=True)
    end = sum(map(len, lines[: (value.end_lineno or 0) - 1])) + (value.end_col_offset or 0) - 1
    comma = "" if module[:end].rstrip().endswith(",") else ", "
    changed = f"{module[:end]}{comma}{entry}\n{module[end:]}"
    last = max(node.end_lineno or 0 for node in body if isinstance(node, (ast.Import, ast.ImportFrom)))
    before = sum(map(len, lines[:last]))
    return f"{changed[:before]}{imports}\n{changed[before:]}" if imports else changed


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `worked.py` finds in a copy of the code with all examples."""
    copy = tmp_path_factory.mktemp("copy")
    for package in ("pgb_core", "service"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, table, code in blocks():
        path = copy / file
        assert path.exists() == bool(table), f"{file}: an example writes new files, and adds to tables that are there"
        path.parent.mkdir(exist_ok=True)
        path.write_text(placed(path.read_text(), table, code) if table else code)
    environment = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(ROOT / "tests/contracts/worked.py"), str(tmp_path_factory.mktemp("made"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["copies"] == [str(copy / package / "__init__.py") for package in ("pgb_core", "service")]
    return said


def test_every_kind_has_an_example() -> None:
    """With files of its own, and lines in tables."""
    files = [file for file, table, _ in blocks() if not table]
    places = ("options", "methods", "checkpoints/architectures", "export/forms", "tasks", "inference/tasks")
    assert {str(Path(file).parent) for file in files} == {
        *(f"pgb_core/{place}" for place in places),
        "service/dialects/best",
    }


def test_the_method_and_the_architecture_make_an_artifact(found: Any) -> None:
    """The last two of four layers are gone."""
    assert found["labelled"]["architecture"] == "data2vec-text"
    assert found["labelled"]["dropped"] == [2, 3]


def test_the_form_is_smaller_and_answers_alike(found: Any) -> None:
    """Beside fp32, of the same model."""
    made = found["labelled"]
    assert made["bytes"]["half-weights"] < 0.8 * made["bytes"]["fp32"]
    assert made["half-weights"] == pytest.approx(made["fp32"], abs=0.01)


def test_the_dialect_answers_and_refuses_in_its_own_way(found: Any) -> None:
    """With the label that the model gives the text."""
    scores = found["labelled"]["fp32"]
    assert found["labelled"]["best"] == {"label": max(scores, key=scores.__getitem__)}
    assert list(found["labelled"]["refused"]) == ["problem"]


def test_the_task_is_compressed_evaluated_and_run(found: Any) -> None:
    """One number a pair, and the metrics of numbers."""
    alike = found["alike"]
    assert alike["task"] == "similarity"
    assert set(alike["evaluated"]) == {"pearson", "spearman"}
    assert alike["evaluated"] == pytest.approx(alike["recorded"], abs=1e-3)
    assert alike["shapes"] == [[1], [1]]
    assert "pipeline_tag: sentence-similarity" in alike["card"]
    assert "how alike two texts are" in alike["card"]
    assert "How it is called" not in alike["card"]  # neither the service nor pgb_core.load has the task
    assert alike["called"] == "WrongTask"
