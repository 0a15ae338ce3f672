"""The recorder of plans and graphs, which two versions of the code run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import unchanged


@pytest.mark.parametrize("structure", unchanged.STRUCTURES)
def test_every_run_of_the_recorder_has_flags_that_go_together(structure: str, tmp_path: Path) -> None:
    """It comes as far as the checkpoint, which is not there."""
    data = unchanged.rows(tmp_path, "classification")
    flags = [*unchanged.STRUCTURES[structure], "--forms", ",".join(unchanged.FORMS)]
    with pytest.raises(RuntimeError, match="no such directory; check the path"):
        unchanged.compress(tmp_path / "absent", data, tmp_path / "out", flags)
