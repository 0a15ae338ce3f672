"""Both ends of the ranges in pyproject.toml, each in an environment of its own: what a user may have installed.

The lower end has torch, transformers and what else the job names at the first version that its range allows, the upper
end whatever the index has newest. In each a small random checkpoint of every architecture is compressed and evaluated,
and the artifact is opened by `pgb_core.load` and by transformers' AutoTokenizer. It is not part of the tests: each
environment is some gigabytes and takes minutes.

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
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
EXTRA = "compress"
_TRIED = """
import json, pathlib, sys, tempfile
from importlib.metadata import version
import pgb_core
from benchmarks import unchanged
from pgb_core.measure.scoring import score
from transformers import AutoTokenizer
scratch = pathlib.Path(tempfile.mkdtemp())
done = []
for architecture in unchanged.ARCHITECTURES:
    for task in unchanged.TASKS:
        model = scratch / f"{architecture}-{task}"
        unchanged.checkpoint(model, architecture, task)
        rows, out = unchanged.rows(scratch, task), scratch / f"{model.name}-out"
        unchanged.compress(model, rows, out, ["--forms", "fp32,torch"])
        metrics = dict(score(out, rows))
        text = ("the film was good",) if task == "classification" else ("who sang", "the town sang a song")
        with pgb_core.load(out, "fp32", threads=1) as loaded:
            found = loaded(*text)
        ids = AutoTokenizer.from_pretrained(out)(*text)["input_ids"]
        assert found and ids and pgb_core.module(out), model.name
        done.append(model.name)
names = ("torch", "transformers", "tokenizers", "onnx", "onnxruntime", "numpy", "safetensors", "scipy")
print(json.dumps({"tried": done, "versions": {n: version(n) for n in names}, "python": sys.version.split()[0]}))
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Try one end, or both, or versions that are named. 0 when all worked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--end", choices=("lower", "upper", "both"), default="both")
    parser.add_argument("--pin", action="append", default=[], help="NAME==VERSION, in place of an end")
    parser.add_argument("--index-url", help="of torch, such as https://download.pytorch.org/whl/cpu")
    args = parser.parse_args(argv)
    ends = {"lower": lowest(requirements([EXTRA])), "upper": []}
    picked = {"named": args.pin} if args.pin else {n: p for n, p in ends.items() if args.end in (n, "both")}
    worst = 0
    for name, pins in picked.items():
        found = tried(pins, args.index_url)
        print(json.dumps({"end": name, **found}), flush=True)
        worst |= found["status"] != 0
    return worst


def requirements(extras: Sequence[str]) -> list[Requirement]:
    """What the project and these extras of it name, without what they name of the project itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return [found for found in map(Requirement, named) if found.name != project["name"]]


def lowest(asked: Sequence[Requirement]) -> list[str]:
    """A pin of each that has a lower end, to that."""
    found = []
    for requirement in asked:
        least = next((each.version for each in requirement.specifier if each.operator in (">=", "==")), None)
        if least is not None:
            found.append(f"{requirement.name}=={least}")
    return found


def tried(pins: Sequence[str], index_url: str | None) -> dict[str, object]:
    """Install in a new environment, and run all that a user of the job runs. status: 0 when it worked."""
    with tempfile.TemporaryDirectory(prefix="pgb-versions-") as scratch:
        venv.create(Path(scratch) / "venv", with_pip=True)
        python = str(Path(scratch) / "venv" / "bin" / "python")
        pinned = Path(scratch) / "pins.txt"
        pinned.write_text("\n".join(pins) + "\n", "utf-8")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", str(pinned)]
        torch = [*(["--index-url", index_url] if index_url else []), "torch"]
        for packages in (torch, [f"{ROOT}[{EXTRA}]"]):
            done = subprocess.run([*pip, *packages], capture_output=True, text=True, check=False)
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
