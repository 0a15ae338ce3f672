"""Products of bytes on processors without VNNI: two of them are added in 16 bits, and what does not fit is cut off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pgb_core import machine
from pgb_core.artifact import Artifact
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.export.forms import int8
from pgb_core.export.forms.token_major import Writer
from pgb_core.export.probes import made_up
from pgb_core.export.write import Made, write
from pgb_core.inference.choose import Asked, choose
from pgb_core.model.quantise import EVERYWHERE
from pgb_core.model.surgery import apply_plan
from tests.core.planned import dense_plan
from tests.core.small import checkpoint

LARGEST_OF_TWO_BYTES = 2**15 - 1
CHOOSE = """
import json, sys
from pgb_core.artifact import open_artifact
from pgb_core.inference.choose import Asked, choose
chosen = choose(open_artifact(sys.argv[1]), Asked(most_drop=100, threads=1))
print(json.dumps({"form": chosen.form, "tried": sorted(chosen.milliseconds), "why": chosen.why}))
"""


def saturating(folder: Path, bits: int, forms: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """A model whose sums of two products are as large as they can be, written with weights of so many bits."""
    monkeypatch.setattr(int8, "EVERYWHERE", bits)
    # Evened inputs would make sums smaller.
    monkeypatch.setattr(Writer, "evened", lambda self, name, weight, x, seen: (weight, x, seen))
    loaded = load_checkpoint(checkpoint(folder / f"model-{bits}", "bert", "classification", initializer_range=0.1))
    plan = dense_plan(loaded.model)
    model = apply_plan(loaded.model, plan).eval()
    with torch.no_grad():
        for layer in model.layers:
            layer.attention_norm.bias.fill_(3.0)
            for inner in layer.feed_forward.reading().values():
                inner.weight.abs_().clamp_(0.003, 0.0031)  # type: ignore[union-attr, operator]
    seen = made_up(loaded.tokenizer, model.config, (48,)) if "openvino-int8" in forms else ()
    return write(folder / f"out-{bits}", Made(loaded, model, plan, ("fp32", *forms), observed=seen))


def on_a_processor_without_vnni(artifact: Artifact) -> dict[str, object]:
    """What is chosen there: here, if this is one, and else on an emulated one."""
    if not {"avx512_vnni", "avx_vnni"} & set(machine.instruction_sets()):
        chosen = choose(artifact, Asked(most_drop=100, threads=1))
        return {"form": chosen.form, "tried": sorted(chosen.milliseconds), "why": chosen.why}
    emulator = shutil.which("qemu-x86_64")
    if emulator is None or not sys.platform.startswith("linux"):
        pytest.skip("this processor has VNNI, and there is no qemu-x86_64 (Debian's qemu-user) to emulate one without")
    done = subprocess.run(
        [emulator, "-cpu", "Haswell", os.path.realpath(sys.executable), "-c", CHOOSE, str(artifact.path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def test_two_products_of_seven_bits_fit_in_two_bytes_and_of_eight_do_not() -> None:
    """An input is an unsigned byte."""
    assert 2 * 255 * (2 ** (EVERYWHERE - 1) - 1) <= LARGEST_OF_TWO_BYTES < 2 * 255 * (2**7 - 1)


def test_eight_bits_are_not_served_where_they_saturate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the artifact, made where they do not, tells."""
    if not {"avx512_vnni", "avx_vnni"} & set(machine.instruction_sets()):
        pytest.skip("an artifact that is right with 8 bits cannot be made on a processor without VNNI")
    found = on_a_processor_without_vnni(saturating(tmp_path, 8, ("int8",), monkeypatch))
    assert found["form"] == "fp32"
    assert "off the artifact's own" in str(found["why"])


@pytest.mark.slow
def test_seven_bits_are_right_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same model passes its check on a processor without VNNI."""
    forms = ("int8", "openvino-int8")
    found = on_a_processor_without_vnni(saturating(tmp_path, EVERYWHERE, forms, monkeypatch))
    assert set(forms) <= set(found["tried"])  # type: ignore[call-overload]
