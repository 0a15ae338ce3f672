"""HTTP as clients and monitors speak it: HEAD, /, bodies without a content type, the formats of /metrics."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from service.app import create_app
from service.errors import TooSlow
from service.http.body import Bodies, declared
from service.http.head import Head
from service.http.origins import EXPOSED
from service.observe.instruments import Instruments
from service.observe.metrics import Call
from service.settings import Settings
from tests.served import serving

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
OPENMETRICS = "application/openmetrics-text"
PROMETHEUS = (
    f"{OPENMETRICS};version=1.0.0;q=0.5,{OPENMETRICS};version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["the film"]}
WORK: list[tuple[str, Any]] = [
    ("/v1/classify", {"inputs": "the film"}),
    ("/v1/models/who/answer", {"question": "who", "context": "the town sang"}),
    ("/", {"inputs": "the film"}),
    ("/models/mood", {"inputs": "the film"}),
    ("/predict", {"inputs": "the film"}),
    ("/v2/models/mood/infer", {"inputs": [TENSOR]}),
    ("/v1/models/mood:predict", {"instances": ["the film"]}),
    ("/invocations", {"inputs": "the film"}),
]


@pytest.fixture(scope="module")
def client(artifacts: tuple[Path, Path]) -> Iterator[TestClient]:
    """Both models; redirects are not followed."""
    app = create_app(Settings(artifacts=tuple(map(str, artifacts)), threads=1))
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as found:
        yield found


@pytest.mark.parametrize("limit", ["max_body_seconds", "max_request_seconds"])
def test_a_body_has_no_more_time_than_a_request(limit: str) -> None:
    """Whichever is less: a client that sends slowly is told so, and is no fault of the service."""
    given: dict[str, Any] = {limit: 0.01}
    bodies = Bodies(Settings(**given), Instruments())

    async def never() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def scenario() -> None:
        async with asyncio.timeout(10):
            await bodies.read(Call("a"), None, never)

    with pytest.raises(TooSlow, match=r"did not arrive within 0\.01 seconds"):
        asyncio.run(scenario())


def test_head_gives_the_headers_of_get(client: TestClient) -> None:
    """At every path that can be got, those of the pages and unknown ones included."""
    documented = client.get("/openapi.json").json()["paths"]
    paths = [path for path, operations in documented.items() if "get" in operations]
    paths = [path.replace("{name}", "mood").replace("{version}", "none") for path in paths]
    paths += [
        "/",
        "/v2/",
        "/ui",
        "/ui/",
        "/ui/app.js",
        "/ui/none",
        "/docs",
        "/openapi.json",
        "/v1/models/none",
        "/none",
    ]
    assert len(paths) > 25
    for path in paths:
        got, head = client.get(path), client.head(path)
        told = {"x-request-id", "date", *(["content-length"] if path == "/metrics" else [])}
        assert head.status_code == got.status_code, path
        assert {n: v for n, v in head.headers.items() if n not in told} == {
            n: v for n, v in got.headers.items() if n not in told
        }


def test_head_is_refused_where_nothing_can_be_got(client: TestClient) -> None:
    """And a refusal names HEAD where GET would do."""
    assert client.head("/v1/classify").status_code == 405
    assert client.get("/v1/classify").headers["allow"] == "POST"
    assert client.delete("/health").headers["allow"] == "GET, HEAD"


def test_a_refusal_names_every_method_of_a_path(client: TestClient) -> None:
    """Also where routes of several dialects share it."""
    for method in ("PUT", "DELETE", "PATCH"):
        reply = client.request(method, "/")
        assert (reply.status_code, reply.headers["allow"]) == (405, "GET, HEAD, POST")


def test_head_sends_no_body_by_itself() -> None:
    """Whatever the server makes of it; the route is there for the log."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = "the route"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ab"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def scenario(scope: dict[str, Any]) -> dict[str, Any]:
        sent.clear()
        await Head(app)(scope, None, send)  # type: ignore[arg-type]
        return scope

    assert asyncio.run(scenario({"type": "http", "method": "GET"}))["route"] == "the route"
    assert sent[1]["body"] == b"ab"
    assert asyncio.run(scenario({"type": "http", "method": "HEAD"})) == {
        "type": "http",
        "method": "HEAD",
        "route": "the route",
    }
    assert sent[0]["headers"] == [(b"content-length", b"2")]
    assert sent[1]["body"] == b""


def test_a_connection_goes_on_after_head(artifacts: tuple[Path, Path]) -> None:
    """Over a real socket: the head of an answer to HEAD is sent at once, and the next answer is the next one's."""
    with serving(artifacts[0], "--threads", "1") as (url, _):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
        for path in ("/health", "/", "/ui/", "/v2/", "/ping", "/metrics", "/none"):
            connection.request("HEAD", path)
            head = connection.getresponse()
            assert head.read() == b""
            connection.request("GET", path)
            got = connection.getresponse()
            body = got.read()
            assert head.status == got.status
            assert got.headers["content-length"] == str(len(body))
            if path != "/metrics":
                assert head.headers["content-length"] == got.headers["content-length"]
        connection.request("POST", "/v1/classify", json.dumps({"inputs": "the film"}))
        assert connection.getresponse().status == 200
        connection.close()


def test_the_log_and_the_metrics_name_what_was_asked(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """HEAD is not called GET, and / is of whoever answers it."""
    caplog.set_level(logging.DEBUG, "pgb")
    before = _counted(client)
    caplog.clear()
    client.head("/v1/models")
    client.get("/")
    client.head("/v1/models/mood")
    client.post("/", json={"inputs": "the film"})
    found = [(r.levelname, r.message, r.fields["dialect"]) for r in caplog.records if hasattr(r, "fields")]
    assert found == [
        ("INFO", "HEAD /v1/models", "native"),
        ("DEBUG", "GET /", "native"),
        ("DEBUG", "HEAD /v1/models/{name}", "kserve"),
        ("INFO", "POST /", "huggingface"),
    ]
    more = {key: count - before.get(key, 0) for key, count in _counted(client).items()}
    assert {key: count for key, count in more.items() if count} == {
        ("native", ""): 1,
        ("huggingface", "mood"): 1,
        ("probe", ""): 3,  # and the first look at the metrics
    }


def test_no_probe_fails_as_a_request_while_the_service_drains(client: TestClient) -> None:
    """Neither those of the service nor those of a model."""
    state: Any = client.app.state  # type: ignore[attr-defined]
    (mood, *_) = client.get("/v1/models").json()["models"]
    of_a_version = f"/v2/models/mood/versions/{mood['version']}/ready"
    of_a_model = ("/v1/models/mood", "/models/mood/health", "/v2/models/mood/ready", of_a_version)
    state.lifecycle.draining = True
    try:
        for path in ("/", "/health", "/ping", "/v2/health/ready", *of_a_model):
            before = _faults(client)
            assert client.get(path).status_code == 503
            more = {dialect for dialect, count in _faults(client).items() if count > before.get(dialect, 0)}
            assert more == {"probe"}, path
    finally:
        state.lifecycle.draining = False


@pytest.mark.parametrize("times", [("0.0001", "60000"), ("60000", "0.0001")])
def test_of_two_times_to_answer_in_the_earlier_one_counts(client: TestClient, times: tuple[str, str]) -> None:
    """One may be of the client, and one of a gateway."""
    headers = [("x-request-timeout-ms", time) for time in times]
    assert client.post("/v1/classify", json={"inputs": "the film"}, headers=headers).status_code == 504


@pytest.mark.parametrize(
    ("given", "status"),
    [("9" * 32, 200), ("9" * 33, 422), ("0." + "0" * 30 + "9", 422), ("9" * 30_000, 422)],
    ids=("the longest", "too long", "too long and small", "endless"),
)
def test_a_time_to_answer_in_is_a_short_number(client: TestClient, given: str, status: int) -> None:
    """Thirty thousand digits and a letter would keep the event loop for minutes, whoever sends them."""
    reply = client.post("/v1/classify", json={"inputs": "the film"}, headers={"x-request-timeout-ms": given})
    assert reply.status_code == status


@pytest.mark.parametrize("path", [path for path, _ in WORK])
@pytest.mark.parametrize("body", [b"null", b'["the film"]', b'"the film"'])
def test_what_is_no_object_is_told_in_words_of_json(client: TestClient, path: str, body: bytes) -> None:
    """Not in those of a class of this program."""
    reply = client.post(path, content=body)
    assert reply.status_code in (400, 422)
    assert ": Input should be a JSON object" in reply.text


@pytest.mark.parametrize(("given", "size"), [("0" * 5_000, 0), ("0" * 5_000 + "7", 7), ("9" * 5_000, int("9" * 20))])
def test_a_length_has_any_number_of_digits(given: str, size: int) -> None:
    """HTTP allows zeros before it, and Python reads 4,300 digits."""
    assert declared({b"content-length": given.encode()}) == size


@pytest.mark.parametrize("end", ["%0A", "%0D", "%00", "%7F"])
@pytest.mark.parametrize("path", ["/metrics", "/health", "/openapi.json", "/v1/models", "/v2/models/mood", "/ui/"])
def test_a_control_character_in_a_path_leads_nowhere(client: TestClient, path: str, end: str) -> None:
    """A server in front that compares whole paths may have let it through."""
    assert client.get(path).status_code == 200
    reply = client.get(f"{path}{end}")
    assert reply.status_code == 404
    assert "no such path" in reply.text


@pytest.mark.parametrize("path", ["/v1/classify", "/v2/models/mood/infer", "/models/mood"])
def test_a_control_character_in_a_path_runs_no_model(client: TestClient, path: str) -> None:
    """Whatever the body is."""
    assert client.post(f"{path}%0A", json={"inputs": "the film"}).status_code == 404


def test_the_document_of_the_api_is_rendered_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anyone asks for it."""
    monkeypatch.setattr(JSONResponse, "render", None)
    reply = client.get("/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    app: Any = client.app
    assert reply.json() == json.loads(json.dumps(app.openapi()))


def test_the_document_of_the_api_names_the_prefix_of_a_server_in_front(client: TestClient) -> None:
    """So that the page sends requests to where they are answered."""
    prefixed = TestClient(client.app, root_path="/pgb")
    assert prefixed.get("/pgb/openapi.json").json()["servers"] == [{"url": "/pgb"}]
    assert "servers" not in client.get("/openapi.json").json()


def _faults(client: TestClient) -> dict[str, float]:
    """Faults that name no model, by dialect."""
    found = re.findall(r'pgb_faults_total\{dialect="(\w+)",model="",.*\} (\S+)', client.get("/metrics").text)
    return {dialect: float(count) for dialect, count in found}


def _counted(client: TestClient) -> dict[tuple[str, str], float]:
    """Answers of 200 by dialect and model."""
    pattern = r'pgb_requests_total\{dialect="(\w+)",model="(\w*)",status="200"\} (\S+)'
    found = re.findall(pattern, client.get("/metrics").text)
    return {(dialect, model): float(count) for dialect, model, count in found}


@pytest.mark.parametrize("accept", ["*/*", "", "application/json", "application/json, text/html"])
def test_the_address_itself_says_whether_it_is_ready(client: TestClient, accept: str) -> None:
    """200 and 503, for whoever does not ask for a page before all else."""
    state: Any = client.app.state  # type: ignore[attr-defined]
    reply = client.get("/", headers={"accept": accept})
    assert (reply.status_code, reply.json()) == (200, {"status": "alive"})
    state.lifecycle.draining = True
    try:
        reply = client.get("/", headers={"accept": accept})
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "unavailable")
        assert client.head("/").status_code == 503
    finally:
        state.lifecycle.draining = False


def test_a_browser_is_led_to_the_page(client: TestClient) -> None:
    """By a relative address, and caches are told that others are not. Where the page is off, it is told the state."""
    reply = client.get("/", headers={"accept": BROWSER})
    assert (reply.status_code, reply.headers["location"], reply.headers["vary"]) == (307, "ui/", "Accept")
    assert client.get("/").headers["vary"] == "Accept"
    without = TestClient(create_app(Settings(ui=False)), follow_redirects=False)
    assert without.get("/", headers={"accept": BROWSER}).status_code == 503


def test_the_server_is_described_where_the_protocol_s_document_has_it(client: TestClient) -> None:
    """With a slash, and without."""
    assert client.get("/v2/").json() == client.get("/v2").json()
    assert client.get("/v2/").json()["name"] == "pgb-serve"
    assert client.get("/v2/health/live/").status_code == 404


@pytest.mark.parametrize(("path", "body"), WORK)
def test_json_needs_no_content_type(client: TestClient, path: str, body: object) -> None:
    """An empty one is none. What is called something else is not read, but in v2, which reads what it is given."""
    sent = json.dumps(body).encode()
    assert client.post(path, content=sent).status_code == 200
    assert client.post(path, content=sent, headers={"content-type": ""}).status_code == 200
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"):
        reply = client.post(path, content=sent, headers={"content-type": kind})
        assert reply.status_code == (200 if path.startswith("/v2") else 415)
        assert "application/json" in reply.text or path.startswith("/v2")


@pytest.mark.parametrize("path", [path for path, _ in WORK])
@pytest.mark.parametrize("body", [b"zq-secret", b"{", b"inputs=a", b"\xff\xfe", b"{'inputs': 'a'}"])
def test_what_is_not_json_is_malformed(client: TestClient, path: str, body: bytes) -> None:
    """With a content type and without."""
    for headers in ({}, {"content-type": "application/json"}):
        reply = client.post(path, content=body, headers=headers)
        assert reply.status_code == 400
        assert "not valid JSON" in reply.text
        assert "secret" not in reply.text


@pytest.mark.parametrize("path", [path for path, _ in WORK])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (rb'{"inputs": "zq-secret \ud83d"}', "half of a surrogate pair, as where a text was cut within an emoji"),
        (rb'{"inputs": "\ude00 zq-secret"}', "half of a surrogate pair"),
        (b'{"inputs": "zq-secret \xe9"}', "it is not UTF-8"),
        (b'\xef\xbb\xbf{"inputs": "zq-secret"}', "it begins with a byte order mark"),
        (b'{"inputs": ' + 5_000 * b"7" + b"}", "a number has too many digits"),
        (b'{"inputs": ' + 300 * b"[" + 300 * b"]" + b"}", "it is nested too deeply"),
    ],
)
def test_what_others_take_for_json_is_refused_with_the_reason(
    client: TestClient, path: str, body: bytes, said: str
) -> None:
    """JavaScript writes half of a pair where it cut a text, and editors of Windows write marks."""
    reply = client.post(path, content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert said in reply.text.partition("is not valid JSON: ")[2]
    assert "secret" not in reply.text


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        (OPENMETRICS, True),
        (f"{OPENMETRICS.upper()}; VERSION=1.0.0; charset=utf-8", True),
        (PROMETHEUS, True),
        (f"text/plain;version=0.0.4;q=0.6,{OPENMETRICS};q=0.5", False),
        (f"text/plain, {OPENMETRICS}", True),
        (f"{OPENMETRICS};q=0", False),
        (f"{OPENMETRICS};q=nan", False),
        (f"{OPENMETRICS};q=zq-secret", False),
        (f"{OPENMETRICS};version=zq-secret", True),
    ],
)
def test_metrics_come_in_the_format_that_is_asked_for(client: TestClient, accept: str, wanted: bool) -> None:
    """Each is read by the parser for it, and has the same counters; nothing of what was asked is repeated."""
    client.post("/v1/classify", json={"inputs": "the film"})
    reply = client.get("/metrics", headers={"accept": accept})
    kind = f"{OPENMETRICS}; version=1.0.0; charset=utf-8" if wanted else "text/plain; version=0.0.4; charset=utf-8"
    assert reply.headers["content-type"] == kind
    assert "Accept" in reply.headers["vary"].split(", ")
    assert "secret" not in str(reply.headers)
    families = {one.name: one for one in (openmetrics_families if wanted else text_families)(reply.text)}
    assert families["pgb_request_duration_seconds"].type == "histogram"
    answered = 'pgb_requests_total{dialect="native",model="mood",status="200"}'
    assert any(line.startswith(answered) for line in reply.text.splitlines())


def test_when_a_series_began_is_a_series_in_openmetrics_alone(client: TestClient) -> None:
    """In the text format it would be one more for each counter and histogram."""
    client.post("/v1/classify", json={"inputs": "the film"})
    assert "_created" not in client.get("/metrics").text
    assert "pgb_infer_duration_seconds_created" in client.get("/metrics", headers={"accept": OPENMETRICS}).text


def test_the_document_of_the_api_promises_no_errors_that_a_dialect_does_not_send(client: TestClient) -> None:
    """FastAPI would add its own 422 wherever a path has a parameter."""
    document = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in json.dumps(document)
    answers = {
        path: document["paths"][path]["post"]["responses"] for path in ("/v2/models/{name}/infer", "/v1/classify")
    }
    assert "422" not in answers["/v2/models/{name}/infer"]
    assert "422" in answers["/v1/classify"]


def test_pages_can_read_every_header_that_a_dialect_adds(client: TestClient) -> None:
    """Origins other than the service's own are told of each by name."""
    binary = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["the film"]}
    replies = [
        client.post("/predict", json={"inputs": "the film"}),
        client.post("/v1/classify", json={"inputs": "the film"}),
        client.post("/v2/models/mood/infer", json={"inputs": [binary], "parameters": {"binary_data_output": True}}),
    ]
    assert [reply.status_code for reply in replies] == [200, 200, 200]
    added = {name for reply in replies for name in reply.headers} - {"content-type", "content-length", "vary"}
    assert "x-compute-time" in added
    assert "inference-header-content-length" in added
    assert added <= set(EXPOSED)
