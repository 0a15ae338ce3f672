"""The files of the pages, without a browser."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from service.ui.pages import DOCS, MEDIA_TYPES, PAGE

FOLDER = Path(str(files("service") / "ui"))


@pytest.fixture(scope="module")
def client() -> TestClient:
    """The application without a model; what is static needs none."""
    return TestClient(create_app(Settings()), follow_redirects=False)


def test_every_file_is_named_and_every_name_is_a_file() -> None:
    """Nothing else is served, and nothing is missing."""
    assert {entry.name for entry in FOLDER.iterdir() if entry.is_file() and entry.suffix != ".py"} == set(MEDIA_TYPES)


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_a_file_comes_with_its_type_and_the_policy(client: TestClient, name: str) -> None:
    """Whole, named for what it is, and forbidden to load anything from elsewhere."""
    reply = client.get("/docs" if name == DOCS else f"/ui/{name}")
    assert reply.status_code == 200
    assert reply.content == (FOLDER / name).read_bytes()
    assert reply.headers["content-type"] == f"{MEDIA_TYPES[name]}; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_what_the_browser_has_is_not_sent_again(client: TestClient) -> None:
    """304 for the tag of the same file, alone or in a list; the file for another's."""
    tag = client.get("/ui/app.js").headers["etag"]
    for known, status in ((tag, 304), (f'"x", {tag}', 304), ('W/"x"', 200)):
        reply = client.get("/ui/app.js", headers={"If-None-Match": known})
        assert reply.status_code == status
        assert reply.headers["etag"] == tag
        assert bool(reply.content) == (status == 200)


def test_the_address_without_its_slash_leads_there_under_any_prefix(client: TestClient) -> None:
    """By a relative address."""
    reply = client.get("/ui")
    assert reply.status_code == 308
    assert reply.headers["location"] == "ui/"
    assert client.get("/ui/").content == (FOLDER / PAGE).read_bytes()


@pytest.mark.parametrize(
    "path", ["ui.py", "app.py", "%2e%2e/app.py", "..%2fapp.py", "%2e%2e%2fapp.py", "x/app.js", DOCS]
)
def test_nothing_but_the_listed_files_is_served(client: TestClient, path: str) -> None:
    """404 for any other name, in whatever way it is written."""
    assert client.get(f"/ui/{path}").status_code == 404


def test_the_pages_can_be_switched_off() -> None:
    """By a setting; then nothing of them is there. What the API is can still be read."""
    client = TestClient(create_app(Settings(ui=False)), follow_redirects=False)
    assert {client.get(path).status_code for path in ("/ui", "/ui/", "/ui/app.js", "/docs", "/ui/docs.js")} == {404}
    assert client.get("/openapi.json").status_code == 200


def test_no_page_of_fastapi_s_own_is_served(client: TestClient) -> None:
    """They would fetch scripts from another host."""
    assert [client.get(path).status_code for path in ("/redoc", "/docs/oauth2-redirect")] == [404, 404]
    assert client.get("/docs").content == (FOLDER / DOCS).read_bytes()


def test_no_script_or_style_stands_in_the_page_and_no_file_names_another_host() -> None:
    """The policy would stop them; this says which file it was."""
    for name in (PAGE, DOCS):
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", (FOLDER / name).read_text())
    for name in MEDIA_TYPES:
        addresses = re.findall(r"https?://[^\"'\s)]+", (FOLDER / name).read_text())
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}


def test_nothing_is_made_from_markup() -> None:
    """What models and users write reaches the page as text."""
    for name in MEDIA_TYPES:
        if name.endswith(".js"):
            text = (FOLDER / name).read_text()
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", text)
