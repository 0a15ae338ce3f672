"""Artifacts, small and random, of every architecture, task, plan and form; made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pgb_core.artifact import Artifact, write_artifact
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.export import write
from pgb_core.export.forms import Form, Limits, form_of
from pgb_core.model.surgery import apply_plan
from tests.core.planned import dense_plan, hand_plan, nested_plan, patterned_plan
from tests.core.small import checkpoint, padded_last

Make = Callable[..., Artifact]
PLANS = {"dense": dense_plan, "grouped": hand_plan, "nested": nested_plan}
FIXED = {"patterned": patterned_plan}
USUAL = ("fp32", "torch")


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """An artifact by architecture, task, plan and forms; `form` is one more beside the usual ones. Made once."""
    made: dict[tuple[object, ...], Artifact] = {}

    def get(
        architecture: str = "bert",
        task: str = "classification",
        plan: str = "grouped",
        form: str | None = None,
        forms: Sequence[str] = USUAL,
    ) -> Artifact:
        forms = tuple(dict.fromkeys((*forms, *([form] if form else []))))
        key = (architecture, task, plan, forms)
        if key not in made:
            folder = tmp_path_factory.mktemp("runtimes")
            loaded = load_checkpoint(checkpoint(folder / "model", architecture, task, initializer_range=0.1))
            chosen = {**PLANS, **FIXED}[plan](loaded.model)
            model = apply_plan(loaded.model, chosen).eval()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(write, "form_of", indulgent)
                made[key] = write.write(folder / "out", write.Made(loaded, model, chosen, forms, threads=1))
        return made[key]

    return get


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Artifact]:
    """A classifier by its labels, all of it kept, in fp32; its checkpoint is `model` beside it. Made once."""
    made: dict[tuple[str, ...], Artifact] = {}

    def get(*labels: str) -> Artifact:
        if labels not in made:
            folder = tmp_path_factory.mktemp("labelled")
            names = {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}
            loaded = load_checkpoint(checkpoint(folder / "model", "bert", "classification", **names))
            plan = dense_plan(loaded.model)
            model = apply_plan(loaded.model, plan).eval()
            made[labels] = write.write(folder / "out", write.Made(loaded, model, plan, ("fp32",), threads=1))
        return made[labels]

    return get


@pytest.fixture(scope="session")
def few_words(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A classifier with 22 tokens, of which the last one is that of padding, in the usual forms. Made once."""
    folder = tmp_path_factory.mktemp("few-words")
    loaded = load_checkpoint(padded_last(folder / "model"))
    plan = dense_plan(loaded.model)
    model = apply_plan(loaded.model, plan).eval()
    return write.write(folder / "out", write.Made(loaded, model, plan, USUAL, threads=1))


def indulgent(name: str) -> Form:
    """The form, whose answers may all be others: a random model hardly prefers any."""
    form = form_of(name)
    return replace(form, limits=form.limits and Limits(0, 1, 100))


def rewritten(artifact: Artifact, folder: Path, files: dict[str, bytes | None], **changes: object) -> Artifact:
    """A copy with other files, whole and hashed, and fields of the manifest; None leaves a file out."""
    kept = {name: (artifact.path / name).read_bytes() for name in artifact.manifest.files} | files
    present = {name: content for name, content in kept.items() if content is not None}
    return write_artifact(folder, replace(artifact.manifest, files={}, **changes), present)  # type: ignore[arg-type]
