"""Both ends of the ranges in pyproject.toml, each in an environment of its own: what a user may have installed.

The lower end has whatever the job and the service name at the first version that its range and the needs of the others
allow, the upper end the newest of all. In each a small random checkpoint of every architecture and task is compressed
and evaluated, the artifact is opened by `pgb_core.load`, `pgb_core.module` and transformers' AutoTokenizer, and the
service answers from it over HTTP. It is not part of the tests: each environment is some gigabytes and takes minutes.
Needs uv (`pip install uv`); `UV_TORCH_BACKEND=cpu` takes PyTorch's own builds for CPU.

    python -m benchmarks.versions --end lower
    python -m benchmarks.versions --pin torch==2.9.0 --pin transformers==5.0.0
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks import script
from pgb_core.machine import facts

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks/results/versions.json"
EXTRA = "compress"
# uv leaves the first version where it has to go back on another package, so that of torch is said.
ENDS = {"lower": ("lowest-direct", ["torch==2.6.0"]), "upper": ("highest", [])}
_TRIED = """
import json, pathlib, sys, tempfile
from importlib.metadata import version
import pgb_core
from benchmarks import unchanged
from benchmarks.service.harness import server
from pgb_core.measure.scoring import score
from transformers import AutoTokenizer
scratch = pathlib.Path(tempfile.mkdtemp())
done = []
for architecture in unchanged.ARCHITECTURES:
    for task in unchanged.TASKS:
        model = scratch / f"{architecture}-{task}"
        unchanged.checkpoint(model, architecture, task)
        rows, out = unchanged.rows(scratch, task), scratch / f"{model.name}-out"
        unchanged.compress(model, rows, out, [*unchanged.TRAINED, "--forms", "fp32,int8,torch"])
        metrics = dict(score(out, rows))
        labelled = task == "classification"
        text = ("the film was good",) if labelled else ("who sang", "the town sang a song")
        for form in ("int8", "fp32"):
            with pgb_core.load(out, form, threads=1) as loaded:
                found = loaded(*text)
        ids = AutoTokenizer.from_pretrained(out)(*text)["input_ids"]
        assert metrics and found and ids and pgb_core.module(out), model.name
        body = {"inputs": text[0]} if labelled else dict(zip(("question", "context"), text))
        with server(str(out), "--form", "fp32") as running:
            status, reply = running.post(f"/v1/{'classify' if labelled else 'answer'}", body)
        assert status == 200, reply
        served = json.loads(reply)["results"][0]
        assert len(served) == len(found), model.name
        for one, other in zip(served, found):
            assert {**one, "score": 0} == {**other, "score": 0}, model.name
            assert abs(one["score"] - other["score"]) < 1e-5, model.name
        done.append(model.name)
names = ("torch", "transformers", "tokenizers", "onnx", "onnxruntime", "numpy", "scipy", "safetensors", "pydantic",
         "fastapi", "uvicorn")
print(json.dumps({"tried": done, "versions": {n: version(n) for n in names}, "python": sys.version.split()[0]}))
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Try one end, or both, which are written to the results; or versions that are named. 0 when all worked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--end", choices=(*ENDS, "both"), default="both")
    parser.add_argument("--pin", action="append", default=[], help="NAME==VERSION, in place of an end")
    args = parser.parse_args(argv)
    if find_spec("uv") is None:
        parser.error("uv is not installed; install it: pip install uv")
    if args.pin:
        found = tried("highest", args.pin)
        print(json.dumps(found))
        return found["status"] != 0
    worst = 0
    for end in ENDS if args.end == "both" else (args.end,):
        found = tried(*ENDS[end])
        print(json.dumps({"end": end, **found}), flush=True)
        worst |= found["status"] != 0
        ends = json.loads(OUT.read_text("utf-8"))["ends"] if OUT.exists() else {}
        script.write(OUT, {"machine": facts(), "ends": {**ends, end: found}})
    return worst


def tried(resolution: str, pins: Sequence[str]) -> dict[str, object]:
    """Install in a new environment, and run all that a user of the job runs. status: 0 when it worked."""
    with tempfile.TemporaryDirectory(prefix="pgb-versions-") as scratch:
        venv.create(Path(scratch) / "venv", with_pip=False)
        python = str(Path(scratch) / "venv" / "bin" / "python")
        pinned = Path(scratch) / "pins.txt"
        pinned.write_text("\n".join(pins) + "\n", "utf-8")
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python]
        given = ["--resolution", resolution, "--constraint", str(pinned), f"{ROOT}[{EXTRA}]"]
        done = subprocess.run([*uv, *given], capture_output=True, text=True, check=False)
        if done.returncode:
            return {"pins": list(pins), "status": done.returncode, "installing": _last(done.stderr)}
        code = [python, "-c", _TRIED]
        done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            return {"pins": list(pins), "status": done.returncode, "running": _last(done.stderr)}
        return {"pins": list(pins), "status": 0, **json.loads(done.stdout.splitlines()[-1])}


def _last(text: str) -> str:
    """The last lines of what was said."""
    return re.sub(r"\s+", " ", text[-600:]).strip()


if __name__ == "__main__":
    sys.exit(main())
