"""The service on each runtime."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.made import Make, rewritten
from tests.served import serving


@pytest.mark.parametrize(("form", "kind"), [("fp32", "openvino"), ("torch", "torch")])
def test_a_server_runs_on_it(make: Make, form: str, kind: str) -> None:
    """From the setting to the answer; the runtime is enough to find the form."""
    with serving(make().path, "--runtime", kind, "--threads", "1") as (url, _):
        reply = httpx.post(f"{url}/v1/classify", json={"inputs": "the film was dull"})
        assert reply.status_code == 200
        shown = httpx.get(f"{url}/info").json()["models"][0]
        found = tuple(shown[name] for name in ("runtime", "device", "form", "numbers", "threads"))
        assert found == (kind, "cpu", form, "float32", 1)


def test_a_served_model_tells_what_runs_it_and_what_was_measured(make: Make, tmp_path: Path) -> None:
    """Density, accuracy and speed of the manifest, in /info, /v1/models and the metrics."""
    measured = {"accuracy": {"dense": {"accuracy": 0.9}, "compressed": {"accuracy": 0.89}}, "speed": {"rows": []}}
    artifact = rewritten(make(), tmp_path / "mood", {}, measured={**make().manifest.measured, **measured})
    weights = artifact.manifest.weights
    with TestClient(create_app(Settings(artifacts=(str(artifact.path),), form="fp32", threads=1))) as client:
        metrics = client.get("/metrics").text
        for path in ("/info", "/v1/models"):
            (shown,) = client.get(path).json()["models"]
            assert shown["measured"] == {**make().manifest.measured, **measured}
            assert shown["weights_kept"] == pytest.approx(weights["kept"] / weights["dense"], abs=1e-4)
            found = [shown[name] for name in ("runtime", "device", "form", "numbers", "why_form", "threads")]
            assert found == ["onnxruntime", "cpu", "fp32", "float32", "it was asked for", 1]
            assert shown["form_milliseconds"] == {}
            assert set(shown["forms"]) == {"fp32", "torch"}
    labels = {
        "device": "cpu",
        "model": shown["name"],
        "form": "fp32",
        "numbers": "float32",
        "runtime": "onnxruntime",
        "threads": "1",
        "version": shown["version"],
        "weights_kept": f"{shown['weights_kept']:g}",
    }
    (line,) = [line for line in metrics.splitlines() if line.startswith("pgb_model_info{")]
    assert dict(re.findall(r'(\w+)="([^"]*)"', line)) == labels


def test_a_served_model_tells_which_form_answers_and_why(make: Make, tmp_path: Path) -> None:
    """As auto chose it: in /info, /v1/models and the metrics; and what every form lost."""
    artifact = make(form="int8")
    records = {name: replace(record, measured={"drop": 0.1}) for name, record in artifact.manifest.forms.items()}
    records["torch"] = replace(records["torch"], measured={"drop": 0.9})
    path = rewritten(artifact, tmp_path / "mood", {}, forms=records).path
    with TestClient(create_app(Settings(artifacts=(str(path),), threads=1))) as client:
        metrics = client.get("/metrics").text
        (shown,) = client.get("/info").json()["models"]
        assert client.get("/v1/models").json()["models"] == [shown]
        dtype = client.get("/info").json()["model_dtype"]
    assert shown["form"] in ("fp32", "int8")
    numbers = records[shown["form"]].numbers
    assert shown["numbers"] == dtype == numbers
    assert set(shown["form_milliseconds"]) == {"fp32", "int8"}
    times = {form: short * long for form, (short, long) in shown["form_milliseconds"].items()}
    assert min(times, key=lambda form: times[form]) == shown["form"]
    assert shown["why_form"].startswith("the fastest of 2 (a short and a long text: ")
    assert shown["why_form"].endswith("left out: torch: it loses 0.90 points, more than 0.5")
    assert {form: told["drop"] for form, told in shown["forms"].items()} == {"fp32": 0.1, "int8": 0.1, "torch": 0.9}
    (line,) = [line for line in metrics.splitlines() if line.startswith("pgb_model_info{")]
    assert f'form="{shown["form"]}"' in line
    assert f'numbers="{numbers}"' in line
    assert "precision" not in line


@pytest.mark.parametrize(
    ("before", "given", "says"),
    [
        ("", ["--form", "int8"], "carries no form int8, only fp32, torch; choose one of these"),
        ("", ["--form", "fp32", "--runtime", "openvino", "--device", "cuda"], "set device cpu"),
        ("sys.modules['openvino'] = None", ["--runtime", "openvino"], "pip install '.[openvino]'"),
    ],
)
def test_a_server_that_cannot_have_its_runtime_says_so_and_ends(
    make: Make, before: str, given: list[str], says: str
) -> None:
    """One line and status 1."""
    code = f"import runpy, sys\n{before}\nrunpy.run_module('service', run_name='__main__')"
    command = [sys.executable, "-c", code, str(make().path), "--port", "0", "--log-level", "error", *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("pgb serve: ")]
    assert says in line
    assert "Traceback" not in done.stderr
