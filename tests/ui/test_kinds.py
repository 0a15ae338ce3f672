"""What the page makes of each kind of model: a number, many labels, pairs; and what it offers for each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from pgb_core.artifact import Artifact, open_artifact
from pgb_core.config import CompressConfig
from pgb_core.pipeline import compress
from service.keys import make_key
from tests.core.small import WORDS, checkpoint
from tests.made import rewritten
from tests.served import serving
from tests.ui.conftest import Opened
from tests.ui.test_page import choose, run

FEELINGS = ("joy", "anger", "fear", "pride", "grief", "relief")
TEXTS = [" ".join(words) for words in combinations(WORDS[:8], 3)]


def made(folder: Path, name: str, labels: tuple[str, ...], problem: str) -> Artifact:
    """A dense model with these labels, random."""
    names = dict(enumerate(labels))
    model = checkpoint(folder / f"{name}-model", "bert", "classification", id2label=names, problem_type=problem)
    return compress(CompressConfig(checkpoint=str(model), out=str(folder / name), keep=1.0, forms="fp32"))


@pytest.fixture(scope="module")
def url(artifacts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a model of each kind, and none for questions."""
    folder = tmp_path_factory.mktemp("kinds")
    two = open_artifact(artifacts[0])
    stars = made(folder, "stars", ("LABEL_0",), "regression")
    every = [
        stars,
        made(folder, "feelings", FEELINGS, "multi_label_classification"),
        rewritten(stars, folder / "relevance", {}, name="relevance", activation="sigmoid"),
        rewritten(two, folder / "opinion", {}, name="opinion", labels=("NEGATIVE", "POSITIVE")),
        rewritten(two, folder / "follows", {}, name="follows", labels=("entailment", "not_entailment")),
        rewritten(two, folder / "unnamed", {}, name="unnamed", labels=("LABEL_0", "LABEL_1")),
        rewritten(two, folder / "topic", {}, name="topic", labels=("negative", "sports")),
    ]
    with serving(*[artifact.path for artifact in every]) as (found, _):
        yield found


def scores(url: str, model: str, inputs: object) -> list[dict[str, float]]:
    """What the API says of each input, by label."""
    rows = httpx.post(f"{url}/v1/classify", json={"inputs": inputs, "model": model}).json()["results"]
    return [{item["label"]: item["score"] for item in row} for row in rows]


def asked(page: Page, text: str, pair: str = "") -> None:
    """Fill in a text, or two, and run."""
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_label("Second text").fill(pair)
    run(page)


def test_a_number_stands_on_a_scale_of_what_was_seen(opened: Opened, url: str) -> None:
    """Not on one of percent: the first alone in the middle, later ones between the least and the largest so far."""
    page = opened(url).page
    choose(page, "Model", "stars")
    found = {text: next(iter(row.values())) for text, row in zip(TEXTS, scores(url, "stars", TEXTS), strict=True)}
    first, least, largest = (
        sorted(found, key=lambda text: found[text])[n] for n in (len(found) // 2, 0, len(found) - 1)
    )
    assert found[least] < found[first] < found[largest]
    card, marker = page.locator(".card"), page.locator(".gauge i")
    asked(page, first)
    expect(card.locator(".single .label")).to_have_text("Score")
    expect(card.locator(".single .number")).to_have_text(f"{found[first]:.3f}")
    expect(card.locator(".ends span")).to_have_text(["the only number so far"])
    expect(card.locator(".share")).to_have_count(0)
    assert marker.evaluate("node => node.style.left") == "50%"
    asked(page, least)
    asked(page, largest)
    ends = [f"{found[least]:.3f} least so far", f"{found[largest]:.3f} largest so far"]
    expect(card.locator(".ends span")).to_have_text(ends)
    assert marker.evaluate("node => node.style.left") == "100%"
    asked(page, first)
    expect(card.locator(".ends span")).to_have_text(ends)
    place = (found[first] - found[least]) / (found[largest] - found[least])
    assert float(marker.evaluate("node => parseFloat(node.style.left)")) == pytest.approx(100 * place, abs=0.1)
    expect(page.locator("#said")).to_contain_text(f"stars: {found[first]:.3f}")


def test_two_numbers_are_told_and_not_called_labels(opened: Opened, url: str) -> None:
    """They may be near each other and differ."""
    page = opened(url).page
    choose(page, "Model", "stars")
    choose(page, "Compare with", "relevance")
    asked(page, "the town sang")
    ((plain,), (bounded,)) = (scores(url, name, "the town sang")[0].values() for name in ("stars", "relevance"))
    expect(page.locator("#verdict")).to_contain_text(f"Scores {plain:.3f} and {bounded:.3f}.")


def test_every_label_above_the_threshold_is_marked(opened: Opened, url: str) -> None:
    """None, one or several: those above 0.5, and no other."""
    page = opened(url).page
    choose(page, "Model", "feelings")
    rows = scores(url, "feelings", TEXTS)
    above = [{label for label, value in row.items() if value > 0.5} for row in rows]
    several = next(n for n, labels in enumerate(above) if 1 < len(labels) < len(FEELINGS))
    best, card = page.locator(".card .best .label"), page.locator(".card")
    asked(page, TEXTS[several])
    expect(card.locator(".labels li")).to_have_count(len(FEELINGS))
    assert set(best.all_inner_texts()) == above[several]
    expect(card).to_contain_text(f"{len(above[several])} of 6 labels above 0.5")
    expect(page.locator("#said")).to_contain_text(f"feelings: {', '.join(sorted(above[several]))},")
    low = {"label": "joy", "score": 0.5}, {"label": "fear", "score": 0.2}
    body = httpx.post(f"{url}/v1/classify", json={"inputs": "the", "model": "feelings"}).json() | {"results": [low]}
    page.route("**/v1/classify", lambda route: route.fulfill(json=body))
    run(page)
    expect(card).to_contain_text("No label above 0.5")
    expect(best).to_have_count(0)
    expect(page.locator("#said")).to_contain_text("feelings: no label,")


def test_one_score_of_a_pair_is_told_plainly(opened: Opened, url: str) -> None:
    """From 0 to 1, as the model of one label gives it."""
    page = opened(url).page
    choose(page, "Model", "relevance")
    ((value,),) = (row.values() for row in scores(url, "relevance", [{"text": "who sang", "pair": "the town"}]))
    asked(page, "who sang", "the town")
    expect(page.locator(".single p").first).to_have_text(f"Scoreof the pair{value:.3f}")
    expect(page.locator(".ends span")).to_have_text(["0", "1"])
    place = float(page.locator(".gauge i").evaluate("node => parseFloat(node.style.left)"))
    assert place == pytest.approx(100 * value, abs=0.1)
    asked(page, "who sang")
    expect(page.locator(".single .hint").first).not_to_have_text("of the pair")


def test_examples_fit_the_model_or_are_not_offered(opened: Opened, url: str) -> None:
    """By its labels: opinions, pairs, or nothing where they say too little."""
    page = opened(url).page
    button, text, pair = page.locator("#example"), page.locator("#text"), page.locator("#pair")
    for name in ("stars", "feelings", "relevance", "unnamed", "topic"):
        choose(page, "Model", name)
        expect(button).to_be_hidden()
    choose(page, "Model", "follows")
    button.click()
    expect(text).not_to_have_value("")
    expect(pair).not_to_have_value("")
    choose(page, "Model", "opinion")
    button.click()
    first = text.input_value()
    expect(pair).to_have_value("")
    button.click()
    expect(text).not_to_have_value(first)


def test_only_tasks_that_a_model_serves_are_offered(
    opened: Opened, artifacts: tuple[Path, Path], tmp_path: Path
) -> None:
    """One task alone is no choice; another comes and goes with its model."""
    folder = tmp_path / "models"
    for name, artifact in zip(("mood", "who"), artifacts, strict=True):
        (folder / name).mkdir(parents=True)
        (folder / name / "1").symlink_to(artifact)
    file = tmp_path / "keys"
    admin = {"Authorization": f"Bearer {make_key(file, 'boss', 'admin')}"}
    secret = make_key(file, "somebody", "use")

    def tell(path: str) -> None:
        assert httpx.post(f"{url}/v1/models/{path}", headers=admin, timeout=30).is_success

    with serving("--models-dir", folder, "--keys-file", file) as (url, _):
        watched = opened(url, ready=False)
        watched.allowed = ("status of 401",)
        page = watched.page
        choice, ask = page.get_by_role("radio"), page.get_by_role("radio", name="Question answering")
        expect(choice).to_have_count(0)
        page.get_by_label("API key").fill(secret)
        page.get_by_role("button", name="Use key").click()
        expect(choice).to_have_count(2)
        ask.check()
        tell("who/unload")
        expect(choice).to_have_count(0)
        expect(page.get_by_label("Text", exact=True)).to_be_visible()
        expect(page.get_by_label("Question", exact=True)).to_be_hidden()
        tell("who/load")
        expect(choice).to_have_count(2)
        tell("mood/unload")
        expect(choice).to_have_count(0)
        expect(page.get_by_label("Question", exact=True)).to_be_visible()
        tell("who/unload")
        expect(page.locator("#state")).to_have_text("No model answers yet")
        expect(page.get_by_role("button", name="Run")).to_be_disabled()
        expect(page.locator("#example")).to_be_hidden()
        tell("mood/load")
        expect(page.get_by_label("Text", exact=True)).to_be_visible()
        expect(page.get_by_role("button", name="Run")).to_be_enabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_kind_of_answer(opened: Opened, url: str, scheme: str) -> None:
    """A number, a score of a pair beside a number, and many labels."""
    axe_module = pytest.importorskip("axe_playwright_python.sync_playwright")
    page, axe = opened(url, color_scheme=scheme, viewport={"width": 320, "height": 800}).page, axe_module.Axe()
    for name, other in (("stars", "nothing"), ("relevance", "stars"), ("feelings", "nothing")):
        choose(page, "Model", name)
        choose(page, "Compare with", other)
        asked(page, "who sang", "the town")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        report = axe.run(page)
        assert not report.violations_count, report.generate_report()


def test_requests_are_counted_over_a_minute(opened: Opened, url: str) -> None:
    """From the scrape of a minute ago, or the first where there is none so old; nothing is made of a short time."""
    page = opened(url).page
    told = page.evaluate("""async () => {
        const { within, between, period } = await import("./metrics.js");
        const scrape = (seconds, count) => ({
            at: 1000 * seconds, refused: 0, waiting: new Map(), answered: new Map([["m@1", count]]),
            buckets: new Map([["m@1", new Map([[1, count]])]]),
        });
        let scrapes = [];
        return [[0, 7], [2, 8], [30, 10], [60, 20], [62, 21], [91, 22]].map(([seconds, count]) => {
            scrapes = within(scrapes, scrape(seconds, count));
            const [first, last] = [scrapes[0], scrapes.at(-1)];
            return [period(first, last), between(first, last, "m@1").answered, between(first, last).answered];
        });
    }""")
    assert told == [
        ["0 s", None, None],
        ["2 s", 1, 1],
        ["30 s", 3, 3],
        ["minute", 13, 13],
        ["minute", 13, 13],  # since second 2
        ["minute", 12, 12],  # since second 30
    ]
