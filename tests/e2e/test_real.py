"""Real fine-tuned checkpoints and real data, where they are at hand."""

from functools import partial
from pathlib import Path

import pytest

from examples import make_adapters
from pgb_core import demo, export
from pgb_core.artifact import open_artifact
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.config import CompressConfig
from pgb_core.data import QuestionRow, TextRow, read_data
from pgb_core.export.parity import check_graph
from pgb_core.inference.batches import run_all
from pgb_core.measure.scoring import score
from pgb_core.pipeline import compress
from pgb_core.session import open_session, predictor
from pgb_core.tasks import Source
from pgb_core.tasks.classification import encode_texts
from pgb_core.tasks.qa import encode_questions

SQUAD = "data/squad/squad-dev-v1.1-half.json"


@pytest.fixture(scope="module")
def base() -> Path:
    """The demo's base weights."""
    found = demo.base_folder()
    if found is None:
        pytest.skip(f"{demo.BASE_PACKAGE} is not installed; make test installs it")
    return found


@pytest.mark.parametrize(
    "name",
    ["bert-tiny-sst2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("minilm-l6-sst2", "minilm-l6-qa"))],
)
def test_parity_on_256_real_inputs(name: str, shared: Path) -> None:
    """Exported dense graphs, both forms of the channels-first one and the fused one."""
    checkpoint = load_checkpoint(shared / "models" / name)
    if checkpoint.task.windows:
        questions = [row for row in read_data(shared / SQUAD, "questions").rows[::20] if isinstance(row, QuestionRow)]
        features = encode_questions(questions, checkpoint.tokenizer, 384, 128)
    else:
        texts = [r for r in read_data(shared / "data/glue/sst2/dev.tsv", "texts").rows if isinstance(r, TextRow)]
        features = encode_texts(texts, [None] * len(texts), checkpoint.tokenizer, 512)
    protos = [export.channels_first(checkpoint.model)]
    if not checkpoint.task.windows:
        protos += [export.channels_first(checkpoint.model, "gpu"), export.fused(checkpoint.model)]
    for proto in protos:
        parity = check_graph(checkpoint.model, proto.SerializeToString(), features)
        assert parity.inputs == parity.same_answers == 256
        assert parity.max_difference < 1e-4


@pytest.mark.slow
def test_sentiment_at_half_without_training(shared: Path, tmp_path: Path) -> None:
    """Scores, plan and compensation alone keep SST-2 within 3 points of dense, from unlabelled text."""
    train = [r for r in read_data(shared / "data/glue/sst2/train.tsv", "texts").rows if isinstance(r, TextRow)]
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(row.text for row in train[::130]))
    done = compress(
        CompressConfig(
            checkpoint=str(shared / "models/minilm-l6-sst2"),
            out=str(tmp_path / "small"),
            calibrate=str(texts),
            epochs=0,
            passes=2,
            eval=str(shared / "data/glue/sst2/dev.tsv"),
        )
    )
    manifest = open_artifact(done.path).manifest
    dense, small = (manifest.measured["accuracy"][name]["accuracy"] for name in ("dense", "compressed"))
    assert dense == pytest.approx(783 / 872, abs=1e-6)
    assert small >= dense - 0.03
    assert score(done.path, shared / "data/glue/sst2/dev.tsv")["accuracy"] == pytest.approx(small, abs=2e-3)


@pytest.mark.slow
def test_the_shipped_sentiment_adapter_keeps_its_quality(shared: Path, base: Path, tmp_path: Path) -> None:
    """Merged into its base: at least 89.0 on SST-2 dev."""
    merged = demo.merged(demo.EXAMPLES[0], base, tmp_path)
    assert 100 * score(merged, shared / "data/glue/sst2/dev.tsv")["accuracy"] >= 89.0


@pytest.mark.slow
def test_the_shipped_qa_adapter_keeps_its_quality(shared: Path, base: Path, tmp_path: Path) -> None:
    """Merged into its base: served answers within 1.5 points F1 of the checkpoint's, on an eighth of the rows."""
    rows = read_data(shared / SQUAD, "questions").rows[::8]
    found = []
    for source in (demo.merged(demo.EXAMPLES[1], base, tmp_path), shared / "models/minilm-l6-qa"):
        checkpoint = load_checkpoint(source)
        session = open_session(export.channels_first(checkpoint.model).SerializeToString())
        run = partial(run_all, predictor(session, checkpoint.model.config))
        subject = checkpoint.subject
        source = Source("file", rows, [row.answers for row in rows if isinstance(row, QuestionRow)], "")
        found.append(subject.task.score(source, subject, checkpoint.served_tokenizer, run)["f1"])
    assert found[0] >= found[1] - 1.5


def test_the_recipe_makes_the_shipped_adapter(shared: Path, base: Path, tmp_path: Path) -> None:
    """Run again, it gives the same size and the same config."""
    shipped = demo.examples_folder() / "adapters" / "sst2"
    words = ["--base", str(base), "--checkpoint", str(shared / "models/minilm-l6-sst2"), "--task", "classification"]
    make_adapters.main([*words, "--out", str(tmp_path)])
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / name).stat().st_size == (shipped / name).stat().st_size
    assert (tmp_path / "adapter_config.json").read_text() == (shipped / "adapter_config.json").read_text()
