"""Rival servers and this one under the same load, on one core each, and a report.

    python -m benchmarks.peers

Makes what is missing under .peers: an environment from PyPI for each rival, and the artifacts. A contender that is in
the result file already is not measured again; --again NAME does it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.peers import models, requests
from benchmarks.peers.environments import NotInstalledError, environment, installed
from benchmarks.peers.lengths import SMOKE, Lengths
from benchmarks.peers.measure import BOUND_MS, Contender, Questions, WrongAnswersError, measure
from benchmarks.peers.report import render
from benchmarks.peers.rival import Rival
from benchmarks.peers.rivals import NOT_RUN, OURS, RIVALS, fast_api
from benchmarks.peers.serving import DidNotStartError
from pgb_core.machine import facts


@dataclass(frozen=True)
class Entry:
    """A contender before anything is made. forms: of which the fastest is served."""

    rival: Rival
    keep: float
    forms: tuple[str, ...]


def entries() -> dict[str, Entry]:
    """All, by name. FastAPI also serves fp32, as most teams have it; this service also serves smaller models."""
    found = {name: Entry(rival, 1.0, rival.forms) for name, rival in RIVALS.items()}
    found[f"{fast_api.RIVAL.name}, fp32"] = Entry(fast_api.RIVAL, 1.0, ("fp32",))
    return found | {f"{OURS.name}, keep {keep:g}": Entry(OURS, keep, OURS.forms) for keep in models.KEEPS if keep < 1}


def described(rival: Rival, python: Path) -> dict[str, Any]:
    """What was installed, and what was set."""
    packages = installed(python) if rival.requirements else {}
    return {"version": rival.version, "settings": dict(rival.settings), "packages": packages}


class Bench:
    """What is made once for all contenders, when the first needs it."""

    def __init__(self, args: argparse.Namespace, speeds: dict[str, dict[str, float]], console: Console) -> None:
        self._args, self._speeds, self._console = args, speeds, console
        rows = requests.sentences(args.data)
        self.questions = Questions(rows, requests.usual(rows))
        self._texts = sorted({text for asked in self.questions.texts for text in asked})
        self._reference: dict[float, dict[str, float]] = {}

    def run(self, name: str, entry: Entry) -> dict[str, Any]:
        """Make what it needs, and measure it; a reason where that does not work."""
        python, artifact, busy = Path(sys.executable), self._artifact(entry.keep), os.getloadavg()[0]
        form = models.best(self._speeds[f"{entry.keep:g}"], entry.forms)
        self._console.print(f"{name} in {form}")
        found: dict[str, Any] = {"form": form, "keep": entry.keep}
        try:
            python = environment(entry.rival, self._args.folder / "env")
            contender = Contender(name, entry.rival, entry.keep, form, artifact, python)
            lengths = SMOKE if self._args.smoke else Lengths()
            found |= measure(contender, self.questions, self._reference[entry.keep], lengths, self._tell)
        except NotInstalledError as error:
            return {**found, "version": entry.rival.version, "failed": f"not installed: {error}"}
        except (DidNotStartError, WrongAnswersError) as error:
            found["failed"] = f"{type(error).__name__}: {error}"
        finally:
            if "failed" in found:
                self._tell(found["failed"])
        return {**found, "machine": {**facts(), "load_average_before": busy}, **described(entry.rival, python)}

    def _tell(self, line: str) -> None:
        self._console.print(f"  {line}")

    def _artifact(self, keep: float) -> Path:
        artifact = models.artifact(keep, self._args.checkpoint, self._args.data, self._args.folder / "models")
        if f"{keep:g}" not in self._speeds:
            with tempfile.TemporaryDirectory(prefix="peers-texts-") as scratch:
                file = Path(scratch) / "texts.json"
                file.write_text(json.dumps(self._texts), "utf-8")
                self._speeds[f"{keep:g}"] = models.speeds(Path(sys.executable), artifact, file)
        if keep not in self._reference:
            self._reference[keep] = models.probabilities(artifact, self._texts)
            self._console.print(f"keep {keep:g}, texts a second without a server: {self._speeds[f'{keep:g}']}")
        return artifact


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, write figures and report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("../shared/models/minilm-l6-sst2"), help="[%(default)s]"
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="has glue/sst2 [%(default)s]")
    parser.add_argument("--folder", type=Path, default=Path(".peers"), help="environments and artifacts [%(default)s]")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/peers.json"), help="[%(default)s]")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this contender; may be repeated")
    parser.add_argument("--again", action="append", default=[], metavar="NAME", help="measure this one again")
    parser.add_argument("--smoke", action="store_true", help="runs of 2 seconds, to see that each works")
    args = parser.parse_args(argv)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    known = entries()
    for name in [*args.only, *args.again]:
        if name not in known:
            parser.error(f"no contender is called {name}; there are {', '.join(known)}")
    figures: dict[str, Any] = json.loads(args.out.read_text("utf-8")) if args.out.exists() else {"contenders": {}}
    if figures.get("smoke", args.smoke) != args.smoke:
        kind = "smoke" if figures["smoke"] else "whole"
        parser.error(f"{args.out} has the figures of a {kind} run; name another file with --out")
    # Kept with the figures, so that a run that goes on chooses the same forms.
    bench = Bench(args, figures.setdefault("form_texts_per_second", {}), console)
    figures |= {"bound_ms": BOUND_MS, "requests": told(bench.questions), "smoke": args.smoke, "not_run": NOT_RUN}
    for name, entry in known.items():
        before = figures["contenders"].get(name, {"failed": ""})
        wanted = "failed" in before or name in args.again
        if wanted and (not args.only or name in args.only):
            figures["contenders"][name] = bench.run(name, entry)
            write(args.out, json.dumps(figures, indent=1) + "\n")
    report = args.folder / "peers.html"
    write(report, render(figures))
    print(f"figures  {args.out.resolve()}\nreport   {report.resolve()}")
    return 0


def told(questions: Questions) -> dict[str, Any]:
    """Of the usual requests."""
    sizes = [len(texts) for texts in questions.texts]
    words = [len(text.split()) for texts in questions.texts for text in texts]
    return {"count": len(sizes), "texts": sum(sizes), "words_mean": round(sum(words) / len(words), 1)}


def write(path: Path, content: str) -> None:
    """Whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(content, "utf-8")
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
