"""A real Prometheus with the project's rules, whose times are shortened so that each alert can be waited for."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine import ROOT

RULES = ROOT / "docker" / "prometheus" / "rules.yml"
# What is written in the rules, and what stands there in its place. Nothing else of them is changed.
SHORTER = {
    "[5m]": "[20s]",
    "[10m]": "[20s]",
    "[15m]": "[40s]",
    "offset 5m": "offset 20s",
    "offset 10m": "offset 20s",
    "for: 1m": "for: 10s",
    "for: 2m": "for: 3s",
    "for: 5m": "for: 3s",
}
START_SECONDS = 60.0
Series = dict[str, Any]


class PrometheusError(RuntimeError):
    """Prometheus is missing, did not start, or refused a query; the message says which."""


@dataclass(frozen=True)
class Target:
    """A service to scrape at `address` (host:port), under the labels that tell it from others."""

    address: str
    namespace: str
    service: str


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus at `url`."""

    url: str

    def query(self, expression: str) -> list[Series]:
        """The series that an expression gives now. Raises PrometheusError."""
        return self._series("query", {"query": expression})

    def history(self, expression: str, begin: float, end: float, step: float) -> list[Series]:
        """The series of an expression from `begin` to `end` (seconds since 1970), every `step` seconds."""
        return self._series("query_range", {"query": expression, "start": begin, "end": end, "step": step})

    def firing(self) -> set[tuple[str, str]]:
        """Each alert that fires now, with its namespace/service."""
        found = (one["metric"] for one in self.query('ALERTS{alertstate="firing"}'))
        return {(labels["alertname"], f"{labels['namespace']}/{labels['service']}") for labels in found}

    def _series(self, path: str, query: Mapping[str, object]) -> list[Series]:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}") as reply:  # noqa: S310
                return list(json.load(reply)["data"]["result"])
        except urllib.error.HTTPError as error:
            raise PrometheusError(f"{query['query']}: {json.load(error).get('error')}") from None


def shortened(rules: str) -> str:
    """The text of a rule file with the times of SHORTER."""
    for long, short in SHORTER.items():
        rules = rules.replace(long, short)
    return rules


@contextmanager
def prometheus(folder: Path, targets: Sequence[Target], port: int, rules: str) -> Iterator[Prometheus]:
    """Prometheus of PATH, which scrapes and evaluates each second; it ends afterwards.

    folder: for its configuration and its data. rules: the text of a rule file. Raises PrometheusError.
    """
    command = shutil.which("prometheus")
    if command is None:
        raise PrometheusError("prometheus is not on PATH; Debian has it as the package prometheus")
    (folder / "rules.yml").write_text(rules, "utf-8")
    scrapes = [
        {"targets": [one.address], "labels": {"namespace": one.namespace, "service": one.service}} for one in targets
    ]
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": [{"job_name": "pgb", "static_configs": scrapes}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration), "utf-8")  # JSON is YAML
    arguments = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    arguments += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([command, *arguments], stdout=log, stderr=log)
    try:
        _ready(f"http://127.0.0.1:{port}", process, folder / "prometheus.log")
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)


def _ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            urllib.request.urlopen(f"{url}/-/ready")  # noqa: S310
            return
        except OSError:
            time.sleep(0.1)
    raise PrometheusError(f"prometheus did not start:\n{log.read_text()[-1000:]}")
