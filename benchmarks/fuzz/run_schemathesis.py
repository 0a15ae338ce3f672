"""schemathesis over the whole OpenAPI document, at a server process with both tasks, with keys or without.

Checked of every answer: no server error but a documented 503 or 504, status, content type, headers and body as
documented, 405 with Allow for other methods, keys asked for, and nothing repeated of what was sent.

    python -m benchmarks.fuzz.run_schemathesis CLASSIFIER QA [--keys]      run with and without; each has its part
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.fuzz.figures import write
from benchmarks.service.harness import Server, server
from pgb_core.artifact import open_artifact
from service.keys import make_key

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "no_echo",
    "keys_asked_for",
)
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "503", "504"]
"""
_FAILED = re.compile(r"^- (?P<what>\S.*)$", re.MULTILINE)


def fuzz(target: Server, models: list[str], keys: str, examples: int, seed: int, folder: Path) -> dict[str, Any]:
    """Run schemathesis; its own words go to standard output."""
    config, figures, report = folder / "schemathesis.toml", folder / "figures.json", folder / "report.xml"
    config.write_text(CONFIG)
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(config)),
        *("run", f"{target.url}/openapi.json", "--checks", ",".join(CHECKS)),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(examples), "--seed", str(seed)),
        *("--continue-on-failure", "--request-timeout", "20", "--generation-database", "none"),
        *("--suppress-health-check", "all", "--warnings", "off", "--no-color", "--output-truncate", "true"),
        *("--report-junit-path", str(report)),
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "benchmarks.fuzz.hooks",
        "FUZZ_MODELS": ",".join(models),
        "FUZZ_KEYS": keys,
        "FUZZ_FIGURES": str(figures),
    }
    begun, before = time.perf_counter(), target.rss_mb()
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - begun
    print(ended.stdout)
    failures = _FAILED.findall(ended.stdout) if ended.returncode else []
    return {
        "seed": seed,
        "checks": CHECKS,
        **json.loads(figures.read_text()),
        "seconds": round(seconds, 1),
        "memory_grew_mb": round(target.rss_mb() - before, 1),
        "health_afterwards": target.get("/health")[0],
        "exit_status": ended.returncode,
        "failures": failures,
    }


def main() -> None:
    """One run; status 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classifier", type=Path)
    parser.add_argument("qa", type=Path)
    parser.add_argument("--keys", action="store_true", help="with a file of keys, good ones and bad ones")
    parser.add_argument("--examples", type=int, default=400, help="most cases of an operation in a phase")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    artifacts = args.classifier, args.qa
    models = [open_artifact(artifact).manifest.name for artifact in artifacts]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flags = [str(artifact) for artifact in artifacts]
        keys = ""
        if args.keys:
            (folder / "models").mkdir()
            for model, artifact in zip(models, artifacts, strict=True):
                (folder / "models" / model).symlink_to(artifact.resolve())
            keys = ",".join(make_key(folder / "keys", scope, scope) for scope in ("admin", "use"))
            flags += ["--models-dir", str(folder / "models"), "--keys-file", str(folder / "keys"), "--metrics-key", "1"]
        with server(*flags) as target:
            figures = fuzz(target, models, keys, args.examples, args.seed, folder)
    write("openapi_with_keys" if keys else "openapi_without_keys", figures)
    print(json.dumps({name: value for name, value in figures.items() if name != "operations"}, indent=1))
    raise SystemExit(bool(figures["exit_status"]))


if __name__ == "__main__":
    main()
