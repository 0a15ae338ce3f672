"""The benchmark of accuracy makes each artifact once, and its tables show what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy import Row, compared, copied, twin
from benchmarks.tables import accuracy

AUTO, NESTED, SHARED = (Row("sst2", structure, 0.5) for structure in ("auto", "nested", "shared"))
OTHER_SEED = Row("sst2", "auto", 0.5, seed=1)


def result(plan: str) -> dict[str, Any]:
    """Of a row, shortened."""
    return {"plan": plan, "dev": {"fp32": {"score": 80.0, "to dense": {"lost": 1.0}}, "int8": {"to fp32": {}}}}


@pytest.mark.parametrize(("wanted", "known"), [(NESTED, AUTO), (AUTO, NESTED)])
def test_rows_of_one_plan_are_one_artifact(wanted: Row, known: Row) -> None:
    """Whichever was made first."""
    rows = {known.name: result("one"), SHARED.name: result("two")}
    assert twin(wanted, rows, lambda: "one") == known
    assert twin(wanted, rows, lambda: "three") is None


@pytest.mark.parametrize(
    "rows",
    [
        {},
        {OTHER_SEED.name: result("one")},
        {Row("sst2", "auto", 0.25).name: result("one")},
        {Row("sst2", "auto", 0.5, noise=0.0).name: result("one")},
        {AUTO.name: {"dev": {}}},  # of which the plan is not known
    ],
)
def test_a_row_with_no_like_is_not_planned_for_it(rows: dict[str, Any]) -> None:
    """Only the structure may differ."""

    def plan() -> str:
        pytest.fail("planned in vain")

    assert twin(NESTED, rows, plan) is None


def test_a_copied_row_says_so_and_is_compared_by_itself(tmp_path: Path) -> None:
    """It has the scores of the other one, row by row of the data, and no comparison that was the other one's."""
    for row, score in ((AUTO, 60.0), (SHARED, 90.0)):
        np.save(tmp_path / f"{row.file}-fp32.npy", np.full(10, score))
    rows = {AUTO.name: result("one"), SHARED.name: result("two")}
    rows[NESTED.name] = copied(NESTED, AUTO, rows, tmp_path)
    assert rows[NESTED.name]["same as"] == AUTO.name
    assert rows[NESTED.name]["dev"] == {"fp32": {"score": 80.0}, "int8": {"to fp32": {}}}
    assert "to dense" in rows[AUTO.name]["dev"]["fp32"]
    compared(tmp_path, {"rows": rows})
    assert rows[NESTED.name]["dev"]["fp32"]["to shared"]["lost"] == 30


def test_the_table_of_stages_shows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the rows of the stages, of pruned models alone."""
    between = {"dense": 0.97, "pruned": 0.5, "compensated": 0.8, "finetuned": 0.9}
    measured = {
        "stage_accuracy": {**{name: {"accuracy": value} for name, value in between.items()}, "rows": 512},
        "stages": {"plan": {"importance_kept": 0.93}},
        "seconds": 90,
    }
    rows = {AUTO.name: {"measured": measured}, Row("sst2", "auto", 1).name: {}}
    monkeypatch.setattr(accuracy, "results", lambda name: {"accuracy": {"rows": rows}}[name])
    assert accuracy.stages().splitlines()[2:] == ["| SST-2, 50% | 0.93 | 97.0 | 50.0 | 80.0 | 90.0 | 1.5 |"]


def test_the_table_of_methods_has_the_best_of_each_size_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the time of the fastest form, beside the fastest dense one; a point that was refused is named."""

    def point(method: str, keep: float, score: float) -> dict[str, Any]:
        dev = {form: {"score": score, "error": 1.0} for form in ("fp32", "int8")} if score else {}
        return {"method": method, "keep": keep, "kept": keep, "dev": dev}

    rows = {
        "dense": point("dense", 1.0, 90.0),
        "low-25": point("low", 0.25, 80.0),
        "high-25": point("high", 0.25, 85.0),
        "none-25": point("none", 0.25, 0.0),
    }
    times = {"dense": {"fp32": {"8x128": 20.0}, "int8": {"8x128": 10.0}}}
    times |= {name: {"fp32": {"8x128": 4.0}, "int8": {"8x128": 5.0}} for name in ("low-25", "high-25")}
    monkeypatch.setattr(accuracy, "measured_by", lambda name: {"sst2": {"rows": rows, "times": times}})
    assert [line.split(" | ")[1:] for line in accuracy.methods_sst2().splitlines()[2:]] == [
        ["`dense`", "90.00", "90.00", "`int8`", "10.00", "1.00x |"],
        ["`high`", "85.00", "85.00", "`fp32`", "4.00", "2.50x |"],
        ["`low`", "80.00", "80.00", "`fp32`", "4.00", "2.50x |"],
        ["`none`", "refused", "|", "| |"],
    ]
