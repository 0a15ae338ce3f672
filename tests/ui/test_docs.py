"""The page of the API: every test ends with no error in the console and no other host asked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from service.dialects import DIALECTS
from service.keys import make_key
from tests.served import serving
from tests.ui.conftest import Opened
from tests.ui.test_page import prefixed


def operation(page: Page, method: str, path: str) -> Locator:
    """An operation, opened."""
    name = page.locator("summary h3").filter(has_text=re.compile(rf"^{method} {re.escape(path)}$"))
    node = page.locator("details").filter(has=name)
    node.locator("summary").click()
    expect(node.get_by_role("button", name="Send")).to_be_visible()
    return node


def answered(node: Locator, status: int = 200) -> Any:
    """Press Send; the body of the answer."""
    node.get_by_role("button", name="Send").click()
    expect(node.get_by_role("status")).to_have_text(re.compile(rf"^{status} [A-Z].*, [\d.]+ m?s round trip$"))
    return json.loads(node.get_by_label("Body of the answer").inner_text())


def test_every_operation_stands_under_its_tag(opened: Opened, url: str) -> None:
    """In the order of openapi.json, none missing and none made up."""
    page = opened(url, "/docs").page
    expected: dict[str, list[str]] = {}
    for path, operations in httpx.get(f"{url}/openapi.json").json()["paths"].items():
        for method, one in operations.items():
            expected.setdefault(one["tags"][0], []).append(f"{method.upper()} {path}")
    found = page.evaluate("""Object.fromEntries([...document.querySelectorAll("#operations > section")].map((section) =>
        [section.querySelector("h2").textContent,
         [...section.querySelectorAll("h3")].map((name) => name.textContent)]))""")
    assert found == expected
    assert list(found) == page.locator("#tags a").all_inner_texts()
    assert len(found) == len(DIALECTS) + 1  # health


@pytest.mark.parametrize(
    ("path", "model", "row"),
    [
        ("/v1/classify", "ClassifyRequest", ["top_k", "integer (≥ 1) or null", "optional", "By default all labels"]),
        ("/v1/answer", "AnswerRequest", ["top_k", "integer (≥ 1, ≤ 100)", "1", ""]),
        ("/v1/answer", "QuestionInput", ["context", "string (length ≥ 1)", "required", ""]),
        (
            "/predict",
            "PredictRequest",
            [
                "inputs",
                "string or list (length ≥ 1, length ≤ 2) of string or list of list (length ≥ 1, length ≤ 2) of string",
                "required",
                "",
            ],
        ),
        (
            "/v2/models/{name}/infer",
            "RequestInput",
            ["shape", "list of integer (≥ 0, ≤ 2,147,483,648)", "required", ""],
        ),
    ],
)
def test_a_field_is_told_in_full(opened: Opened, url: str, path: str, model: str, row: list[str]) -> None:
    """Its type with bounds, whether it must be there, its default and meaning; of nested models too."""
    node = operation(opened(url, "/docs").page, "POST", path)
    table = node.get_by_label(f"{model}, table", exact=True).first
    cells = [line.locator("th, td").all_inner_texts() for line in table.locator("tbody tr").all()]
    assert row in cells


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/answer", "/predict", "/v1/models/{name}/answer"])
def test_an_example_is_sent_as_it_stands(opened: Opened, url: str, path: str) -> None:
    """And answered with what the API answers."""
    node = operation(opened(url, "/docs").page, "POST", path)
    body = answered(node)
    sent = json.loads(node.get_by_label("Body", exact=True).input_value())
    expected = httpx.post(f"{url}{path.replace('{name}', 'who')}", json=sent).json()
    for one in (body, expected):
        if isinstance(one, dict):
            one.pop("timings")
    assert body == expected
    names = node.locator(".result dt").all_inner_texts()
    values = dict(zip(names, node.locator(".result dd").all_inner_texts(), strict=True))
    assert re.search(r"infer;dur=[\d.]+, .*total;dur=[\d.]+", values["server-timing"])
    assert re.fullmatch(r"[0-9a-f]{32}", values["x-request-id"])


def test_tensors_are_sent_to_a_named_model(opened: Opened, url: str) -> None:
    """In the v2 dialect, whose example is for a classifier."""
    node = operation(opened(url, "/docs").page, "POST", "/v2/models/{name}/infer")
    expect(node.get_by_label("name", exact=True)).to_have_value("mood")
    body = answered(node)
    assert body["model_name"] == "mood"
    assert [output["name"] for output in body["outputs"]] == ["label", "score", "scores"]


def test_each_example_finds_a_model_that_it_is_for(opened: Opened, url: str) -> None:
    """The first of this dialect labels a text, the second asks a question."""
    node = operation(opened(url, "/docs").page, "POST", "/models/{name}")
    assert "label" in answered(node)[0][0]
    node.get_by_role("combobox", name="Example").select_option(label="Example 2")
    expect(node.get_by_label("name", exact=True)).to_have_value("who")
    assert "answer" in answered(node)


def test_an_error_is_shown_as_the_service_tells_it(opened: Opened, url: str) -> None:
    """With its status; after it an answer takes its place."""
    watched = opened(url, "/docs")
    watched.allowed = ("status of 404", "status of 422")
    node = operation(watched.page, "GET", "/models/{name}/info")
    node.get_by_label("name", exact=True).fill("no/body?")
    assert "error" in answered(node, 404)
    node.get_by_label("name", exact=True).fill("who")
    assert answered(node)["model_id"] == "who"
    node = operation(watched.page, "POST", "/v1/classify")
    node.get_by_label("Body", exact=True).fill('{"inputs": ""}')
    assert answered(node, 422)["error"]["code"] == "invalid_input"


def test_the_curl_line_does_the_same(opened: Opened, url: str) -> None:
    """Also for a text with quotes in it, and for a path with a parameter."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    page = opened(url, "/docs").page
    node = operation(page, "POST", "/v1/models/{name}/classify")
    node.get_by_label("Body", exact=True).fill('{"inputs":\n "it\'s the \\"film\\" $HOME"}')
    for one in (node, operation(page, "GET", "/v1/models")):
        line = one.get_by_label("The same with curl").inner_text()
        done = subprocess.run(["/bin/sh", "-c", f"{line} --silent"], capture_output=True, timeout=30, check=True)
        body = answered(one)
        by_curl = json.loads(done.stdout)
        assert {**by_curl, "timings": None} == {**body, "timings": None}


def test_a_key_is_asked_for_and_kept_out_of_the_curl_line(
    opened: Opened, models: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """Where keys are set; the operations can be read without one."""
    file = tmp_path / "keys"
    secret = make_key(file, "somebody", "use")
    with serving(models[0], "--keys-file", file) as (url, _):
        watched = opened(url, "/docs", ready=False)
        watched.allowed = ("status of 401",)
        page = watched.page
        expect(page.locator("#state")).to_have_text("A key is needed")
        node = operation(page, "POST", "/v1/classify")
        assert "error" in answered(node, 401)
        page.get_by_label("API key").fill(secret)
        page.get_by_role("button", name="Use key").click()
        expect(page.locator("#state")).to_have_text("1 model answers")
        assert answered(node)["model"]["name"] == "mood"
        expect(node.get_by_label("The same with curl")).to_contain_text('-H "Authorization: Bearer $KEY"')
        assert secret not in page.content()
        assert page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})") == "{}"


def test_all_of_it_goes_with_the_keyboard(opened: Opened, url: str) -> None:
    """From the list of dialects to an operation, its body and its answer."""
    page = opened(url, "/docs").page
    page.get_by_role("link", name="native").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").startswith("POST /v1/classify")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    node = page.locator("details[open]")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "TEXTAREA":
            break
    page.keyboard.press("Control+Enter")
    expect(node.get_by_role("status")).to_contain_text("200 OK")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(opened: Opened, url: str, scheme: str) -> None:
    """Closed, and with operations open, answered and failed."""
    axe_module = pytest.importorskip("axe_playwright_python.sync_playwright")
    watched = opened(url, "/docs", color_scheme=scheme)
    watched.allowed = ("status of 422",)
    page, axe = watched.page, axe_module.Axe()
    assert not axe.run(page).violations_count
    answered(operation(page, "POST", "/v1/classify"))
    node = operation(page, "POST", "/models/{name}")
    node.get_by_label("Body", exact=True).fill("{}")
    answered(node, 422)
    operation(page, "GET", "/v2/models/{name}")
    report = axe.run(page)
    assert not report.violations_count, report.generate_report()


@pytest.mark.parametrize("width", [320, 768, 1600])
def test_it_fits_any_width(opened: Opened, url: str, width: int) -> None:
    """Nothing makes the page scroll sideways; tables scroll by themselves."""
    page = opened(url, "/docs", viewport={"width": width, "height": 800}).page
    answered(operation(page, "POST", "/v1/answer"))
    operation(page, "POST", "/v2/models/{name}/versions/{version}/infer")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_works_below_a_path(opened: Opened, url: str) -> None:
    """Behind a proxy that takes the path off; the curl line knows it."""
    with prefixed(url, "/team/models") as outside:
        watched = opened(outside, "/team/models/docs")
        node = operation(watched.page, "POST", "/v1/classify")
        expect(node.get_by_label("The same with curl")).to_contain_text(f"{outside}/team/models/v1/classify'")
        answered(node)
        watched.page.goto("about:blank")  # the proxy ends before the page would
        watched.page.evaluate("window.violations = []")
