"""The page, as somebody uses it: every test ends with no error in the console and no other host asked."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Page, expect

from service.keys import make_key
from tests.served import serving, traffic
from tests.ui.conftest import WAIT_MS, Opened

expect.set_options(timeout=WAIT_MS)
FLOOD = {"inputs": ["the town sang a dull song and the film was long " * 4] * 128}
Theme = Literal["light", "dark"]
STAGES = ["tokenize", "queue", "infer", "postprocess", "network"]


def run(page: Page) -> None:
    """Press Run, and wait until what was asked has ended."""
    page.get_by_role("button", name="Run").click()
    page.locator("#results:not([aria-busy]) .card").first.wait_for()


def choose(page: Page, label: str, name: str) -> None:
    """The option of a select that begins with a model's name."""
    select = page.get_by_label(label, exact=True)
    texts = select.locator("option").all_inner_texts()
    select.select_option(label=next(text for text in texts if text.split(",")[0] == name))


def ask(page: Page, question: str, context: str = "the town sang a song") -> None:
    """Turn to question answering, and fill it in."""
    page.get_by_label("Question answering").check()
    page.get_by_label("Question", exact=True).fill(question)
    page.get_by_label("Context", exact=True).fill(context)


def test_a_text_is_classified(opened: Opened, url: str) -> None:
    """All labels, best first, with the scores that the API gives; each stage with its time."""
    page = opened(url).page
    page.get_by_label("Text", exact=True).fill("the town sang")
    run(page)
    (row,) = httpx.post(f"{url}/v1/classify", json={"inputs": "the town sang", "model": "mood"}).json()["results"]
    card = page.locator(".card")
    expect(card.locator(".labels .label")).to_have_text([item["label"] for item in row])
    shown = [float(text) for text in card.locator(".labels .number").all_inner_texts()]
    assert shown == pytest.approx([item["score"] for item in row], abs=1e-3)
    expect(card.locator(".steps li span:first-child")).to_have_text(STAGES)
    expect(card.get_by_role("heading")).to_contain_text("mood")
    expect(page.locator("#said")).to_contain_text(f"mood: {row[0]['label']}")


def test_the_form_that_answers_is_shown_with_the_reason(opened: Opened, url: str) -> None:
    """Beside the answer, in the words of the API; and in the row of its model."""
    page = opened(url).page
    shown = {model["name"]: model for model in httpx.get(f"{url}/v1/models").json()["models"]}
    choose(page, "Model", "mood")
    page.get_by_label("Text", exact=True).fill("the town sang")
    run(page)
    reason = page.locator(".card .form p")
    expect(reason).to_be_hidden()
    page.locator(".card summary").filter(has_text="fp32 in onnxruntime on cpu").click()
    expect(reason).to_be_visible()
    why = shown["mood"]["why_form"]
    assert why.startswith("fp32 is the only one that fits. left out: int8: only ")
    expect(reason).to_have_text(re.compile(re.escape(why[1:])))
    cell = page.locator("#served tbody tr").filter(has_text="mood-dense").locator("td").nth(2)
    expect(cell).to_have_attribute("title", shown["mood-dense"]["why_form"])


def test_a_pair_is_sent_as_a_pair(opened: Opened, url: str) -> None:
    """The second text goes along when there is one."""
    page = opened(url).page
    page.get_by_label("Text", exact=True).fill("the town")
    page.get_by_label("Second text").fill("sang a song")
    with page.expect_request("**/v1/classify") as asked:
        run(page)
    assert asked.value.post_data_json["inputs"] == {"text": "the town", "pair": "sang a song"}
    expect(page.locator(".card .labels")).to_be_visible()


def test_an_answer_is_marked_where_it_stands(opened: Opened, url: str) -> None:
    """Also behind characters that a string of the browser counts twice."""
    page = opened(url).page
    context = "\U0001f3b5\U0001f3b6 the town sang a song \U0001f3b5 the film was dull"
    ask(page, "who sang", context)
    run(page)
    asked = {"question": "who sang", "context": context, "top_k": 3}
    (answers,) = httpx.post(f"{url}/v1/answer", json=asked).json()["results"]
    expect(page.locator("mark")).to_have_text(answers[0]["answer"])
    before = page.locator(".context").evaluate("node => [...node.firstChild.textContent].length")
    assert before == answers[0]["start"]
    expect(page.locator(".context")).to_have_text(context)
    expect(page.locator(".spans .label")).to_have_text([answer["answer"] for answer in answers])
    expect(page.locator(".spans .hint").first).to_have_text(f"chars {answers[0]['start']}–{answers[0]['end']}")


def test_two_models_stand_side_by_side(opened: Opened, url: str) -> None:
    """Each with its density and times, on one scale; both are asked in turn, equally often."""
    page = opened(url).page
    page.get_by_label("Text", exact=True).fill("a dull song")
    choose(page, "Model", "mood")
    choose(page, "Compare with", "mood-dense")
    run(page)
    cards = page.locator(".card")
    expect(cards).to_have_count(2)
    expect(cards.nth(0).locator(".facts")).to_contain_text(re.compile(r"\d+% of weights"))
    expect(cards.nth(1).locator(".facts")).to_have_text("dense")
    expect(page.locator("#verdict")).to_have_text(
        re.compile(r"(Same|Different) label\. .* times as fast \(median of 5\)\.")
    )
    names = page.locator("#recent tbody th").all_inner_texts()
    assert names == ["mood-dense", "mood"] * 5
    first, second = (cards.nth(n).bounding_box() for n in (0, 1))
    assert first is not None
    assert second is not None
    assert first["y"] == second["y"]
    assert first["x"] + first["width"] < second["x"]


def test_the_stages_of_recent_requests_are_drawn_to_scale(opened: Opened, url: str) -> None:
    """The segments of a row follow one another and end where the round trip does."""
    page = opened(url).page
    page.get_by_label("Text", exact=True).fill("the film")
    for _ in range(3):
        run(page)
    rows = page.locator("#recent tbody tr")
    expect(rows).to_have_count(3)
    drawn = page.evaluate("""[...document.querySelectorAll("#recent tbody .track")].map((track) => {
        const whole = track.getBoundingClientRect();
        return [...track.children].map((part) => {
            const box = part.getBoundingClientRect();
            const left = (box.left - whole.left) / whole.width;
            return [part.className, left, Number(part.style.getPropertyValue("--length"))];
        });
    })""")
    scale = max(sum(length for *_, length in row) for row in drawn)
    for row in drawn:
        assert [stage for stage, *_ in row] == STAGES
        start = 0.0
        for _, left, length in row:
            assert left == pytest.approx(start / scale, abs=0.01)
            start += length
    assert re.search(r"tokenize .* ms, queue .*, network .* ms", rows.first.locator(".unseen").inner_text())


def test_what_the_server_does_is_shown_live(opened: Opened, url: str) -> None:
    """Requests of others count too: p50, p99, and the busy model's own row."""
    page = opened(url).page
    expect(page.locator("#tile-waiting dd")).to_have_text("0")
    for _ in range(20):
        httpx.post(f"{url}/v1/classify", json={"inputs": "the film", "model": "mood-dense"})
    expect(page.locator("#tile-p50 dd")).to_have_text(re.compile(r"^[\d.]+ m?s$"))
    expect(page.locator("#tile-p99 dd")).to_have_text(re.compile(r"^[\d.]+ m?s$"))
    row = page.locator("#served tbody tr").filter(has_text="mood-dense").locator("td")
    expect(row.nth(2)).to_have_text("fp32")
    expect(row.nth(5)).to_have_text("20")
    expect(page.locator("#counted")).to_have_text(re.compile(r"^Requests, last \d+ s$"))
    expect(page.locator("#live-hint")).to_have_text(
        re.compile(r"^all requests of the last \d+ s; more is not known yet$")
    )
    expect(row.nth(6)).to_have_text(re.compile(r"^[\d.]+ m?s$"))


def test_an_error_says_what_is_wrong_and_how_to_go_on(opened: Opened, url: str) -> None:
    """422 with the service's own words, announced; after it the page works as before."""
    watched = opened(url)
    watched.allowed = ("status of 422",)
    page = watched.page
    ask(page, "   ")
    run(page)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("422 empty input")
    expect(page.locator("#recent .bad")).to_have_text("422 empty_input")
    ask(page, "who sang")
    run(page)
    expect(alert).to_have_count(0)
    expect(page.locator("mark")).to_be_visible()


def test_a_server_that_is_gone_is_said_to_be_gone(opened: Opened, models: tuple[Path, Path, Path]) -> None:
    """In the card and in the header."""
    with serving(models[0]) as (url, process):
        watched = opened(url)
        watched.allowed = ("net::ERR",)
        page = watched.page
        expect(page.get_by_label("Question answering")).to_be_hidden()
        page.get_by_label("Text", exact=True).fill("the film")
        process.kill()
        process.wait()
        run(page)
        expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
        expect(page.locator("#state")).to_contain_text("The server does not answer")


def test_an_overload_counts_down_and_is_asked_again(opened: Opened, models: tuple[Path, Path, Path]) -> None:
    """429 with the wait that the server asks for; the button waits as long, then the answer comes.

    Flows take turns: the page is refused only where its own tokens, and as many of another flow, are too many.
    """
    small = {"PGB_MAX_QUEUE_TOKENS": "96", "PGB_MAX_BATCH_TOKENS": "64", "PGB_THREADS": "1"}
    with serving(models[0], env=small) as (url, _):
        watched = opened(url)
        watched.allowed = ("status of 429",)
        page = watched.page
        page.get_by_label("Text", exact=True).fill("the film was long " * 16)  # 64 tokens, all that the model takes
        alert = page.get_by_role("alert")
        again = page.get_by_role("button", name="Try again")
        with traffic(url, [FLOOD] * 3):
            for _ in range(200):  # until one comes while others wait
                run(page)
                if alert.count():
                    break
            expect(alert).to_contain_text("429 overloaded")
            assert again.is_disabled() or page.get_by_text("The wait is over.").is_visible()
            expect(page.locator("#tile-refused dd")).to_have_text(re.compile(r"^[1-9]\d*$"))
        expect(again).to_be_enabled()
        again.click()
        expect(page.locator(".card .labels")).to_be_visible()
        expect(alert).to_have_count(0)


def test_the_wait_is_counted_down_in_seconds(opened: Opened, url: str) -> None:
    """As Retry-After says; the one answer here that does not come from the service."""
    watched = opened(url)
    watched.allowed = ("status of 429",)
    page = watched.page
    page.clock.install()
    refusal = '{"error": {"code": "overloaded", "message": "900 tokens are waiting already"}}'
    page.route("**/v1/classify", lambda route: route.fulfill(status=429, headers={"Retry-After": "7"}, body=refusal))
    page.get_by_label("Text", exact=True).fill("the film")
    run(page)
    again = page.get_by_role("button", name="Try again")
    for passed, left in ((0, 7), (3000, 4), (3000, 1)):
        page.clock.run_for(passed)
        expect(page.locator(".card")).to_contain_text(f"The server asks to wait: {left} s")
        expect(again).to_be_disabled()
    page.clock.run_for(1500)
    expect(again).to_be_enabled()
    expect(page.locator("#said")).to_have_text("The wait is over.")


def test_a_key_is_asked_for_used_and_kept_nowhere(
    opened: Opened, models: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """Where keys are set: a wrong one is told, a right one serves, and a reload has forgotten it."""
    file = tmp_path / "keys"
    secret = make_key(file, "somebody", "use")
    with serving(models[0], "--keys-file", file) as (url, _):
        watched = opened(url, ready=False)
        watched.allowed = ("status of 401",)
        page = watched.page
        expect(page.locator("#state")).to_have_text("A key is needed")
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Use key").click()
        expect(page.locator("#state")).to_have_text("This key is not accepted")
        page.get_by_label("API key").fill(secret)
        page.get_by_role("button", name="Use key").click()
        expect(page.locator("#state")).to_have_text("1 model answers")
        page.get_by_label("Text", exact=True).fill("the film")
        run(page)
        expect(page.locator(".card .labels")).to_be_visible()
        kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
        assert secret not in kept
        page.reload()
        expect(page.locator("#state")).to_have_text("A key is needed")


def test_all_of_it_goes_with_the_keyboard(opened: Opened, url: str) -> None:
    """From the first Tab to an answer to a question: in the order of reading, each stop to be seen."""
    page = opened(url).page
    stops = []

    def tab() -> str:
        page.keyboard.press("Tab")
        name, outline = page.evaluate("""(() => {
            const focused = document.activeElement;
            const seen = focused.type === "radio" ? focused.nextElementSibling : focused;
            return [focused.id || focused.value || focused.className, getComputedStyle(seen).outlineStyle];
        })()""")
        assert outline != "none", name
        stops.append(name)
        return str(name)

    assert [tab(), tab(), tab()] == ["skip", "theme", "classification"]
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Question", exact=True)).to_be_visible()
    tab()
    page.keyboard.type("who sang")
    tab()
    page.keyboard.type("the town sang a song")
    assert [tab(), tab(), tab(), tab(), tab(), tab()] == ["top", "impossible", "model", "other", "run", "example"]
    assert stops[3:5] == ["question", "context"]
    page.get_by_label("Context", exact=True).focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator("mark")).to_be_visible()
    page.get_by_label("Question", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#recent tbody tr")).to_have_count(2)


def test_a_failed_card_keeps_the_focus_when_it_is_asked_again(opened: Opened, url: str) -> None:
    """The button goes, the place stays."""
    watched = opened(url)
    watched.allowed = ("status of 422",)
    page = watched.page
    ask(page, " ")
    run(page)
    page.get_by_role("button", name="Try again").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#recent tbody tr")).to_have_count(2)
    assert page.evaluate("document.activeElement.className") == "card"


@pytest.mark.parametrize(("system", "other"), [("light", "dark"), ("dark", "light")])
def test_the_theme_follows_the_system_until_the_button_is_pressed(
    opened: Opened, url: str, system: Theme, other: Theme
) -> None:
    """And then it stays as chosen, also after a reload. The button says what it does next, whatever happened."""
    page = opened(url, color_scheme=system).page
    button = page.locator("#theme")

    def paper() -> int:
        """Brightness of the background."""
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) // 3

    dark = system == "dark"
    assert (paper() < 64) == dark
    expect(button).to_have_accessible_name(f"Use {other} theme")
    button.click()
    assert (paper() < 64) != dark
    page.reload()
    assert (paper() < 64) != dark
    expect(button).to_have_accessible_name(f"Use {system} theme")
    button.click()
    assert (paper() < 64) == dark
    expect(button).to_have_accessible_name("Use the system's theme")
    page.emulate_media(color_scheme=other)
    assert (paper() < 64) == dark
    expect(button).to_have_accessible_name(f"Use {other} theme")
    page.emulate_media(color_scheme=system)
    page.reload()
    button.click()
    expect(button).to_have_accessible_name(f"Use {other} theme")
    page.emulate_media(color_scheme=other)
    assert (paper() < 64) != dark
    expect(button).to_have_accessible_name(f"Use {system} theme")


@pytest.mark.parametrize("width", [320, 768, 1600])
def test_it_fits_any_width(opened: Opened, url: str, width: int) -> None:
    """Nothing is cut off or makes the page scroll sideways; tables scroll by themselves."""
    page = opened(url, viewport={"width": width, "height": 800}).page
    page.get_by_label("Text", exact=True).fill("the film")
    choose(page, "Compare with", "mood-dense")
    run(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ask(page, "x" * 300, "y" * 300)
    run(page)
    expect(page.locator(".context")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [720, 860, 870, 1000, 1100, 1170, 1600])
def test_no_column_of_the_models_is_out_of_sight(opened: Opened, url: str, width: int) -> None:
    """Those that matter least are left out before the table has to scroll."""
    page = opened(url, viewport={"width": width, "height": 800}).page
    table = page.get_by_role("region", name="Models, table")
    expect(table.locator("tbody tr")).to_have_count(3)
    assert table.evaluate("each => each.scrollWidth - each.clientWidth") <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(opened: Opened, url: str, scheme: str) -> None:
    """Names, roles, contrast: empty, with both tasks' answers, and with an error."""
    axe_module = pytest.importorskip("axe_playwright_python.sync_playwright")
    watched = opened(url, color_scheme=scheme)
    watched.allowed = ("status of 422",)
    page, axe = watched.page, axe_module.Axe()

    def check() -> None:
        report = axe.run(page)
        assert not report.violations_count, report.generate_report()

    check()
    page.get_by_label("Text", exact=True).fill("the film")
    choose(page, "Compare with", "mood-dense")
    run(page)
    check()
    ask(page, " ")
    run(page)
    expect(page.get_by_role("alert")).to_be_visible()
    check()
    ask(page, "who sang")
    run(page)
    expect(page.locator("mark")).to_be_visible()
    check()


@contextmanager
def prefixed(url: str, prefix: str) -> Iterator[str]:
    """A proxy that serves everything of `url` below a path."""

    class Proxy(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            if not self.path.startswith(prefix + "/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            kept = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "accept-encoding")
            }
            reply = httpx.request(self.command, url + self.path.removeprefix(prefix), content=body, headers=kept)
            self.send_response(reply.status_code)
            for name, value in reply.headers.items():
                if name not in ("content-length", "content-encoding"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        do_GET = do_POST = _pass  # noqa: N815 the names that the base class calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        server.daemon_threads = True  # a browser keeps its connections
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_it_works_below_a_path(opened: Opened, url: str) -> None:
    """Behind a proxy that takes the path off."""
    with prefixed(url, "/team/models") as outside:
        watched = opened(outside, "/team/models/ui")
        watched.page.get_by_label("Text", exact=True).fill("the film")
        run(watched.page)
        expect(watched.page.locator(".card .labels")).to_be_visible()
        expect(watched.page.locator("#tile-waiting dd")).to_have_text("0")
        watched.page.goto("about:blank")  # the proxy ends before the page would
        watched.page.evaluate("window.violations = []")


def test_a_model_that_is_loaded_while_the_page_is_open_is_offered(
    opened: Opened, models: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """And so is each version of a name whose traffic is split."""
    folder = tmp_path / "models" / "mood"
    folder.mkdir(parents=True)
    (folder / "1").symlink_to(models[0])
    file = tmp_path / "keys"
    admin = {"Authorization": f"Bearer {make_key(file, 'boss', 'admin')}"}
    secret = make_key(file, "somebody", "use")
    with serving("--models-dir", folder.parent, "--keys-file", file) as (url, _):
        watched = opened(url, ready=False)
        watched.allowed = ("status of 401",)
        page = watched.page
        page.get_by_label("API key").fill(secret)
        page.get_by_role("button", name="Use key").click()
        expect(page.locator("#state")).to_have_text("1 model answers")
        (folder / "2").symlink_to(models[1])
        loaded = httpx.post(
            f"{url}/v1/models/mood/load", json={"version": "2", "share": 0.5}, headers=admin, timeout=30
        )
        assert loaded.status_code == 200
        expect(page.locator("#state")).to_have_text("2 models answer")
        options = page.get_by_label("Model", exact=True).locator("option")
        expect(options).to_have_count(3)
        choose(page, "Model", "mood 2")
        page.get_by_label("Text", exact=True).fill("the film")
        run(page)
        expect(page.locator(".card .version")).to_have_text("2")
