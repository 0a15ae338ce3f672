"""Clients that have an environment of their own, themselves: KServe's, MLServer's types, rankers.

They run where CLIENTS_PYTHON names the interpreter of that environment, as `make test` does, which makes one.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

PROGRAMS = Path(__file__).parent / "clients"
QUERY = "who sang"
TEXTS = ["the film was dull", "the town sang a song", "not very good", "where it began"]
ASKED = ["the film was good", "dull"]


def said(program: str, *words: str) -> Any:
    """What a program prints."""
    python = os.environ.get("CLIENTS_PYTHON")
    if not python:
        pytest.skip("these clients have an environment of their own; make test")
    environment = {**os.environ, "HAYSTACK_TELEMETRY_ENABLED": "False", "PYTHONPATH": ""}
    command = [python, str(PROGRAMS / f"{program}.py"), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def labels(url: str) -> list[list[dict[str, Any]]]:
    """What the native dialect says of ASKED."""
    rows: list[list[dict[str, Any]]] = httpx.post(f"{url}/v1/classify", json={"inputs": ASKED}, timeout=60).json()[
        "results"
    ]
    return rows


def test_rankers_find_their_texts_in_order(several: str) -> None:
    """What /v1/classify says of each pair, the highest first, as many as were asked for."""
    pairs = [{"text": QUERY, "pair": text} for text in TEXTS]
    body = {"inputs": pairs, "model": "rank", "activation": "sigmoid"}
    rows = httpx.post(f"{several}/v1/classify", json=body, timeout=60).json()["results"]
    wanted = sorted(((text, row[0]["score"]) for text, row in zip(TEXTS, rows, strict=True)), key=lambda one: -one[1])
    found = said("rankers", several, "3", QUERY, *TEXTS)
    assert found.keys() == {"llama_index", "haystack", "cohere_v2"}
    for ranked in found.values():
        assert ranked == [[text, pytest.approx(score, abs=1e-5)] for text, score in wanted[:3]]


def test_kserve_s_client_finds_both_protocols(url: str) -> None:
    """Live, ready, answers with their ids, and refusals in words."""
    found, native = said("kserve_rest", url, "mood", "who"), labels(url)
    first, second = found["v1"], found["v2"]
    assert first["live"] is first["ready"] is True
    best = [row[0]["label"] for row in native]
    assert [row[0]["label"] for row in first["labels"]["predictions"]] == best
    assert first["answers"]["predictions"][0]["answer"]
    assert first["explained"][0] == first["unknown"][0] == 404
    assert "no model has an explainer" in first["explained"][1]
    assert "no model of that name" in first["unknown"][1]
    assert second["live"] is second["ready"] is second["known"] is True
    assert second["unknown"] is False
    for way in ("json", "sent", "both"):
        assert (second[way]["id"], second[way]["labels"]) == ("a-1", best)
        highest = [max(row) for row in second[way]["scores"]]
        assert highest == pytest.approx([row[0]["score"] for row in native], abs=1e-5)


def test_mlserver_s_types_read_every_answer(url: str) -> None:
    """Requests with every field of the types, null or not, are taken; what is refused is an error of theirs."""
    found, native = said("mlserver_types", url, "mood"), labels(url)
    assert (found["name"], found["inputs"]) == ("pgb-serve", ["text", "text_pair"])
    assert len(found["answers"]) == 2
    for name, outputs in found["answers"]:
        assert (name, outputs["label"]) == ("a-1", [row[0]["label"] for row in native])
        assert outputs["score"] == pytest.approx([row[0]["score"] for row in native], abs=1e-5)
    assert found["refused"][0] == 400
    assert found["states"] == {"mood": "READY", "who": "READY"}
