"""Which form is served: the fastest that answers as it should and loses little, or the one that is named."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from pgb_core.artifact import Artifact, FormRecord, open_artifact
from pgb_core.inference import choose as choosing
from pgb_core.inference.choose import Asked, Chosen, choose
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.base import Setup
from pgb_core.inference.runtimes.registry import RUNTIMES
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokens import Tokens
from tests.inference.recording_runtime import ENTRY, RecordingRuntime
from tests.made import rewritten

RAN = {"runtime": "timed 1", "device": "cpu", "processor": "a processor"}


class Timed(RecordingRuntime):
    """Takes as long as it is told for its form, counts what is open, and may be broken."""

    milliseconds: ClassVar[dict[str, float]] = {}
    wrong: ClassVar[set[str]] = set()
    short: ClassVar[set[str]] = set()
    most_open: ClassVar[int] = 0

    def __init__(self, artifact: Artifact, setup: Setup) -> None:
        super().__init__(artifact, setup)
        Timed.most_open = max(Timed.most_open, sum(not one.closed for one in RecordingRuntime.opened))

    def run(self, batch: Sequence[Tokens]) -> list[Logits]:
        """See `Runtime`."""
        form = self.setup.form
        if form in self.short and max(map(len, batch)) > 60:
            raise RuntimeError("no memory")
        time.sleep(self.milliseconds.get(form, 0.0) / 1e3)
        return [row + np.float32(form in self.wrong) for row in super().run(batch)]


@dataclass
class Setting:
    """An artifact of given forms that run on `Timed`, and what was opened."""

    artifact: Artifact
    opened: list[RecordingRuntime]

    def choose(self, **asked: Any) -> Chosen:
        """What is chosen; everything else is closed."""
        heard: list[object] = []
        chosen = choose(self.artifact, Asked(**asked), heard.append)
        assert [one.setup.form for one in self.opened if not one.closed] == [chosen.form]
        assert chosen.runtime is next(one for one in self.opened if not one.closed)
        assert heard == self.opened
        return chosen


Prepare = Callable[..., Setting]


@pytest.fixture
def prepare(artifacts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prepare]:
    """Makes an artifact of forms that take so many milliseconds, with changes to their records."""
    monkeypatch.setitem(
        RUNTIMES, "timed", replace(ENTRY, module=__name__, opens=Timed.__name__, devices=("cpu", "auto"))
    )
    monkeypatch.setattr(RecordingRuntime, "opened", [])
    monkeypatch.setattr(choosing, "SECONDS", 0.02)
    for name, empty in (("milliseconds", {}), ("wrong", set()), ("short", set()), ("most_open", 0)):
        monkeypatch.setattr(Timed, name, empty)

    def get(
        milliseconds: Mapping[str, float], changes: Mapping[str, Mapping[str, object]] | None = None, **more: object
    ) -> Setting:
        Timed.milliseconds.update(milliseconds)
        artifact = open_artifact(artifacts[0])
        usual: FormRecord = replace(artifact.form("fp32"), runtimes=("timed",), ran=RAN, measured={})
        forms = {name: replace(usual, **(changes or {}).get(name, {})) for name in milliseconds}  # type: ignore[arg-type]
        return Setting(rewritten(artifact, tmp_path / "some", {}, forms=forms, **more), RecordingRuntime.opened)

    yield get
    assert Timed.most_open <= 2


@pytest.mark.parametrize("fastest", ["one", "two", "three"])
def test_the_fastest_form_is_taken(prepare: Prepare, fastest: str) -> None:
    """Wherever it stands among the others, which are closed; and the times are told."""
    times = {name: 1.0 if name == fastest else 6.0 for name in ("one", "two", "three")}
    chosen = prepare(times).choose(threads=1)
    assert (chosen.form, chosen.kind) == (fastest, "timed")
    assert set(chosen.milliseconds) == set(times)
    for name, found in chosen.milliseconds.items():
        assert min(found) >= times[name]
    assert chosen.why.startswith(f"the fastest of 3 (a short and a long text: {fastest} ")
    assert "left out" not in chosen.why


def test_of_a_short_and_a_long_input_both_count(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    """A form that is a little faster on one, and much slower on the other, is not taken."""
    setting = prepare({"one": 0, "two": 0})
    known = {"one": (1.0, 9.0), "two": (1.2, 3.0)}
    monkeypatch.setattr(choosing, "_milliseconds", lambda runtime, artifact, form: known[form])
    assert setting.choose().form == "two"


def test_forms_are_timed_whatever_token_is_the_last_one(few_words: Artifact) -> None:
    """Here it is that of padding, and no token comes after it."""
    assert few_words.manifest.pad_id == 21
    chosen = choose(few_words, Asked(threads=1))
    chosen.runtime.close()
    assert set(chosen.milliseconds) == set(few_words.manifest.forms)


LOSSES = [
    ({"measured": {"drop": 0.51, "equal_answers": 1.0}}, {}, "it loses 0.51 points, more than 0.5"),
    ({"measured": {"drop": 0.2, "equal_answers": 0.5}}, {"most_drop": 0.1}, "it loses 0.20 points, more than 0.1"),
    ({"measured": {"equal_answers": 0.989}}, {"most_drop": 99.0}, "only 98.9% of its answers are those of fp32"),
    ({"ran": {}}, {}, "it has run nowhere yet; name it to serve it"),
    ({"devices": ("abacus",)}, {}, "it is not for device cpu"),
    ({"runtimes": ("torch",)}, {"runtime": "timed"}, "it is not for runtime timed"),
]


@pytest.mark.parametrize(("changes", "asked", "says"), LOSSES)
def test_a_form_that_may_not_be_served_is_not_even_opened(
    prepare: Prepare, changes: dict[str, object], asked: dict[str, Any], says: str
) -> None:
    """However fast: one that loses too much, has run nowhere, or is not for this place. The reason is told."""
    setting = prepare({"slow": 5.0, "fast": 0.0}, {"fast": changes})
    chosen = setting.choose(**asked)
    assert chosen.form == "slow"
    assert f"slow is the only one that fits. left out: fast: {says}" in chosen.why
    assert [one.setup.form for one in setting.opened] == ["slow"]


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"measured": {"drop": 0.5}}, {}),
        ({"measured": {"drop": -0.3, "equal_answers": 0.8}}, {}),
        ({"measured": {"drop": 2.0}}, {"most_drop": 2.0}),
        ({"measured": {"equal_answers": 0.99}}, {}),
        ({"measured": {"drop": 0.4, "equal_answers": 0.9}}, {"device": "auto"}),
    ],
)
def test_a_form_that_loses_little_is_served(
    prepare: Prepare, changes: dict[str, object], asked: dict[str, Any]
) -> None:
    """On labelled rows as much as may be; without any, one answer in a hundred."""
    assert prepare({"slow": 5.0, "fast": 0.0}, {"fast": changes}).choose(**asked).form == "fast"


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        ({"drop": 0.0, "equal_answers": 0.79}, "only 79.0% of its numbers are near those of fp32"),
        ({"equal_answers": 0.98}, "only 98.0% of its answers are those of fp32"),
        ({"drop": 0.6, "equal_answers": 1.0}, "it loses 0.60 points"),
        ({"drop": 0.0, "equal_answers": 0.8}, ""),
        ({"equal_answers": 0.99}, ""),
    ],
)
def test_numbers_have_to_be_near_whatever_their_correlation(
    prepare: Prepare, measured: dict[str, float], says: str
) -> None:
    """A correlation is the same for numbers of another scale."""
    setting = prepare({"slow": 5.0, "fast": 0.0}, {"fast": {"measured": measured}}, activation="none")
    chosen = setting.choose()
    assert chosen.form == ("slow" if says else "fast")
    assert says in chosen.why


def test_a_form_that_fails_its_own_check_is_not_served(prepare: Prepare) -> None:
    """It is closed, and its difference is told."""
    setting = prepare({"slow": 5.0, "fast": 0.0, "short": 0.0})
    Timed.wrong.add("fast")
    Timed.short.add("short")
    chosen = setting.choose()
    assert chosen.form == "slow"
    assert "fast: the runtime's logits are 1 off the artifact's own" in chosen.why
    assert "short: it fails on a long input" in chosen.why


def test_a_runtime_that_is_not_there_leaves_its_form_out(prepare: Prepare) -> None:
    """With what would bring it."""
    setting = prepare({"slow": 5.0, "fast": 0.0}, {"fast": {"runtimes": ("absent",)}})
    RUNTIMES["absent"] = replace(ENTRY, module="no_such_module")
    try:
        why = setting.choose().why
    finally:
        del RUNTIMES["absent"]
    assert "left out: fast: no_such_module is not installed; pip install '.[recorder]'" in why


def test_where_no_form_can_be_served_every_reason_is_told(prepare: Prepare) -> None:
    """In one line, and nothing stays open."""
    setting = prepare({"one": 0.0, "two": 0.0}, {"one": {"ran": {}}})
    Timed.wrong.add("two")
    with pytest.raises(
        RuntimeUnavailable, match=r"no form can be served here \(one: it has run nowhere.*; two: "
    ) as no:
        choose(setting.artifact, Asked())
    assert "\n" not in str(no.value)
    assert all(one.closed for one in setting.opened)


@pytest.mark.parametrize("changes", [{"measured": {"drop": 50.0}}, {"ran": {}}, {"measured": {"equal_answers": 0.1}}])
def test_a_form_that_is_named_is_served(prepare: Prepare, changes: dict[str, object]) -> None:
    """Though auto would not take it; nothing else is opened or timed. It has to pass its check."""
    setting = prepare({"usual": 0.0, "named": 9.0}, {"named": changes})
    chosen = setting.choose(form="named", threads=2)
    assert (chosen.form, chosen.why, chosen.milliseconds) == ("named", "it was asked for", {})
    assert [(one.setup.form, one.setup.threads) for one in setting.opened] == [("named", 2)]
    Timed.wrong.add("named")
    with pytest.raises(RuntimeUnavailable, match="of form named; choose another form"):
        choose(setting.artifact, Asked("named"))
    assert setting.opened[-1].closed


def test_a_form_that_is_not_there_is_refused_with_those_that_are(prepare: Prepare) -> None:
    """And with the command that makes it."""
    setting = prepare({"one": 0.0, "two": 0.0})
    says = "carries no form int8, only one, two; choose one of these; pgb compress --forms makes others"
    with pytest.raises(RuntimeUnavailable, match=says):
        choose(setting.artifact, Asked("int8"))
    assert setting.opened == []


def test_what_a_manifest_says_was_measured_decides(prepare: Prepare) -> None:
    """Read back from disk: the choice needs no more than the artifact."""
    setting = prepare({"slow": 5.0, "fast": 0.0}, {"fast": {"measured": {"drop": 0.7}}})
    raw = json.loads((setting.artifact.path / "manifest.json").read_text())
    assert raw["forms"]["fast"]["measured"] == {"drop": 0.7}
    assert choose(open_artifact(setting.artifact.path), Asked()).form == "slow"


def test_a_form_has_the_first_runtime_that_is_known(prepare: Prepare) -> None:
    """A later version may have others; what was opened is what is told."""
    setting = prepare({"one": 0.0}, {"one": {"runtimes": ("later", "timed")}})
    assert setting.choose(form="one").kind == "timed"
