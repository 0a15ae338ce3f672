"""The pictures of docs/ui.md, from the models of `make demo` and the dense ones they were made from.

python -m tests.ui.screenshots [.demo] [--out docs/images]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, ViewportSize

from pgb_core import demo
from pgb_core.config import CompressConfig
from pgb_core.pipeline import compress
from tests.served import serving, traffic
from tests.ui.browser import chromium

SIZE = ViewportSize(width=1280, height=860)
_TEXTS = ("A warm, funny film.", "It never ends.", "The cast is splendid; the story, sadly, is not.")
_LIVE_SECONDS = 45


def ask(page: Page, task: str, model: str, other: str = "") -> None:
    """Fill in an example, run it, and wait for the answers."""
    page.get_by_label(task).check()
    page.get_by_label("Model", exact=True).select_option(label=model)
    page.get_by_label("Compare with").select_option(label=other or "nothing")
    page.get_by_role("button", name="Example").click()
    for _ in range(1 if other else 3):  # the first is slower than the rest
        page.get_by_role("button", name="Run").click()
        page.locator(".card .steps").nth(1 if other else 0).wait_for()
        page.locator("#results:not([aria-busy])").wait_for()


def option(page: Page, task: str, start: str) -> str:
    """The label of a model whose name is `start`."""
    page.get_by_label(task).check()
    labels = page.get_by_label("Model", exact=True).locator("option").all_inner_texts()
    return next(label for label in labels if label.partition(",")[0] == start)


def dense(example: demo.Example, folder: Path) -> Path:
    """The artifact of the dense model, scored on the rows that the compressed one was scored on."""
    base = demo.base_folder()
    if base is None:
        raise SystemExit(f"{demo.BASE_PACKAGE} is not installed; make demo installs it")
    checkpoint = demo.merged(example, base, folder / "checkpoint")
    _, rows = demo.split_rows(example, folder)
    out = folder / f"{example.name}-dense"
    return compress(
        CompressConfig(checkpoint=str(checkpoint), out=str(out), task=example.task, keep=1.0, eval=str(rows))
    ).path


def take(url: str, page: Page, out: Path) -> None:
    """Every picture."""
    classify, answer = "Classification", "Question answering"
    page.goto(f"{url}/ui")
    page.locator("#state.good").wait_for()
    small, large = (option(page, classify, name) for name in ("sentiment", "sentiment-dense"))
    small_qa, large_qa = (option(page, answer, name) for name in ("answers", "answers-dense"))
    asked = [{"inputs": text, "model": name} for name in ("sentiment", "sentiment-dense") for text in _TEXTS]
    with traffic(url, asked, pause=0.2):
        time.sleep(_LIVE_SECONDS)
    ask(page, classify, small)
    page.screenshot(path=out / "ui-light.png")
    ask(page, answer, small_qa)
    page.screenshot(path=out / "ui-qa.png")
    ask(page, classify, small, large)
    page.screenshot(path=out / "ui-side-by-side.png", full_page=True)
    page.emulate_media(color_scheme="dark")
    ask(page, answer, small_qa, large_qa)
    page.screenshot(path=out / "ui-dark.png")


def main() -> None:
    """Make the dense models, serve all four, take the pictures."""
    parser = argparse.ArgumentParser(description="Take the pictures of docs/ui.md.")
    parser.add_argument("demo", type=Path, nargs="?", default=Path(".demo"), help="what make demo wrote")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        models = [args.demo / example.name for example in demo.EXAMPLES]
        for example in demo.EXAMPLES:
            (own := Path(folder) / example.name).mkdir()
            models.append(dense(example, own))
        with serving(*models) as (url, _), chromium() as browser:
            if browser is None:
                raise SystemExit("no Chromium: install one, or name it in the environment variable CHROMIUM")
            take(url, browser.new_page(viewport=SIZE, color_scheme="light", device_scale_factor=1.5), args.out)


if __name__ == "__main__":
    main()
