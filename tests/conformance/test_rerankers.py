"""What rankers of llama-index, Haystack and Cohere send and read; `test_clients.py` asks with themselves."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

QUERY = "who sang"
TEXTS = ["the film was dull", "the town sang a song", "not very good", "where it began"]


def llama_index(url: str, top: int) -> list[tuple[str, float]]:
    """`TextEmbeddingInference` of llama-index-postprocessor-tei-rerank: as many scores as nodes, by their index."""
    headers = {"Content-Type": "application/json"}
    ranks = httpx.post(f"{url}/rerank", headers=headers, json={"query": QUERY, "texts": TEXTS}, timeout=60).json()
    assert len(ranks) == len(TEXTS)
    scores = {rank["index"]: float(rank["score"]) for rank in ranks}
    return sorted(((text, scores[n]) for n, text in enumerate(TEXTS)), key=lambda found: -found[1])[:top]


def haystack(url: str, top: int) -> list[tuple[str, float]]:
    """`HuggingFaceTEIRanker` of huggingface-api-haystack, or of haystack-ai 2: a list that is sorted already."""
    body = {"query": QUERY, "texts": TEXTS, "raw_scores": False}
    ranks: Any = httpx.post(urljoin(url, "/rerank"), json=body, headers={}, timeout=30).json()
    assert isinstance(ranks, list)
    return [(TEXTS[rank["index"]], rank["score"]) for rank in ranks[: min(top, len(ranks))]]


def cohere(url: str, top: int) -> list[tuple[str, float]]:
    """`ClientV2.rerank` of cohere: results with an index and a score."""
    body = {"model": "rank", "query": QUERY, "documents": TEXTS, "top_n": top}
    headers = {"authorization": "Bearer none", "x-fern-language": "Python", "content-type": "application/json"}
    found = httpx.post(f"{url}/v2/rerank", json=body, headers=headers, timeout=300).json()
    return [(TEXTS[one["index"]], one["relevance_score"]) for one in found["results"]]


@pytest.mark.parametrize("client", [llama_index, haystack, cohere])
@pytest.mark.parametrize("top", [2, 10])
def test_rankers_find_their_texts_in_order(several: str, client: Any, top: int) -> None:
    """What /v1/classify says of each pair, the highest first."""
    pairs = [{"text": QUERY, "pair": text} for text in TEXTS]
    asked = {"inputs": pairs, "model": "rank", "activation": "sigmoid"}
    rows = httpx.post(f"{several}/v1/classify", json=asked).json()["results"]
    wanted = sorted(((text, row[0]["score"]) for text, row in zip(TEXTS, rows, strict=True)), key=lambda one: -one[1])
    found = client(several, top)
    assert [text for text, _ in found] == [text for text, _ in wanted[:top]]
    assert [score for _, score in found] == pytest.approx([score for _, score in wanted[:top]], abs=1e-5)


def test_haystack_s_truncation_is_understood(several: str) -> None:
    """It sends both fields, with a capital."""
    body = {"query": QUERY, "texts": TEXTS, "raw_scores": False, "truncate": True, "truncation_direction": "Left"}
    assert len(httpx.post(f"{several}/rerank", json=body).json()) == len(TEXTS)
