"""What one run asks of the machine before its work, and what it shares with other runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pgb_core import pipeline
from pgb_core.errors import ConfigError
from pgb_core.family import family
from pgb_core.inference.runtimes.registry import RUNTIMES
from pgb_core.learn.finetune import epoch_of
from pgb_core.methods import method_of
from pgb_core.pipeline import compress
from pgb_core.progress.report import Report
from pgb_core.run.output import _bytes_needed
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import Workspace
from pgb_core.tasks.features import Features
from tests.core.small import checkpoint, settings
from tests.reports import Heard


def test_methods_that_train_the_dense_model_need_room_for_it(tmp_path: Path, texts: Path) -> None:
    """Also those whose training does not decide what is kept, as layers and ranks are."""
    model, shared = checkpoint(tmp_path / "model", "bert", "classification"), Shared()
    needed: dict[str, int] = {}
    for method in ("magnitude", "layerdrop", "flop", "movement"):
        config = settings(model, tmp_path / "small", texts, method=method)
        run = Run.begin(config, Report(), Workspace(tmp_path / "none"), shared)
        needed[method] = _bytes_needed(run, method_of(config).stages(run))
    dense = 4 * sum(parameter.numel() for parameter in run.dense.parameters())
    cut = needed.pop("magnitude")
    assert all(bytes_needed > cut + 3 * dense for bytes_needed in needed.values()), needed


def test_steps_of_an_epoch_are_counted_once_for_all_runs(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another seed or method too; those of other batches are others."""
    counted: list[int] = []

    def counting(features: list[Features], tokens: int, seed: int) -> list[list[Features]]:
        counted.append(tokens)
        return epoch_of(features, tokens, seed)

    monkeypatch.setattr("pgb_core.run.run.epoch_of", counting)
    model = checkpoint(tmp_path / "model", "bert", "classification")
    config = settings(model, tmp_path / "small", texts)
    run = Run.begin(config, Report(), Workspace(tmp_path / "none"), Shared())
    steps = len(epoch_of(run.inputs.training, config.tokens, 7))
    for changes in ({}, {"seed": 7}, {"method": "michel"}):
        assert replace(run, config=config.model_copy(update=changes)).per_epoch == steps
    assert replace(run, config=config.model_copy(update={"tokens": 32})).per_epoch > steps
    assert counted == [config.tokens, 32]


def test_forms_that_cannot_be_tried_here_are_told_before_the_work(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, with what to install, for one size and for several; forms that can be are not told."""
    monkeypatch.setitem(RUNTIMES, "openvino", replace(RUNTIMES["openvino"], module="pgb_core.not_there"))
    for make, keep in ((compress, 0.5), (family, (0.5, 0.25))):
        told = Heard()
        with pytest.raises(ConfigError, match="is the checkpoint's directory"):
            make(settings(tmp_path, tmp_path, texts, keep=keep, forms=("fp32", "openvino-int8")), told)
        assert told.everything == [
            "form openvino-int8: openvino is not installed, so it is made and not tried; to try it, first pip install "
            "'.[openvino]' in a clone of pgb-serve"
        ]


def test_forms_are_held_against_rows_of_every_label(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file is sorted by label and longer than what is compared."""
    monkeypatch.setattr(pipeline, "MOST_COMPARED", 4)
    held_out = tmp_path / "sorted.tsv"
    held_out.write_text("sentence\tlabel\n" + "".join(f"{'a ' * (n + 1)}film\t{n // 4}\n" for n in range(8)))
    model = checkpoint(tmp_path / "model", "bert", "classification")
    config = settings(model, tmp_path / "small", texts, eval=str(held_out), trust_labels=True)
    run = Run.begin(config, Report(), Workspace(tmp_path / "none"), Shared())
    inputs, count = pipeline._compared(run)
    lengths = sorted(len(item.ids) for item in inputs[-count:])
    assert count == 4
    assert lengths[1] <= 7 < lengths[2]  # words of the first four rows and of the last four, and three more tokens
