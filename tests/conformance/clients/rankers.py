"""Rankers of llama-index and Haystack, and Cohere's client. Arguments: address, how many are kept, query, texts."""

from __future__ import annotations

import json
import sys

import cohere
import httpx
from haystack import Document
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker, TruncationDirection
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

Ranked = list[tuple[str, float]]


def llama_index(url: str, top: int, query: str, texts: list[str]) -> Ranked:
    """By nodes."""
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.0) for text in texts]
    found = TextEmbeddingInference(top_n=top, base_url=url).postprocess_nodes(nodes, QueryBundle(query))
    return [(one.node.get_content(), one.score) for one in found]


def haystack(url: str, top: int, query: str, texts: list[str]) -> Ranked:
    """By documents, of which too long ones lose their beginning."""
    ranker = HuggingFaceTEIRanker(url=url, top_k=top, token=None)
    documents = [Document(content=text) for text in texts]
    found = ranker.run(query=query, documents=documents, truncation_direction=TruncationDirection.LEFT)["documents"]
    return [(one.content, one.score) for one in found]


def cohere_v2(url: str, top: int, query: str, texts: list[str]) -> Ranked:
    """By their index."""
    with httpx.Client() as http:
        client = cohere.ClientV2(api_key="none", base_url=url, httpx_client=http)
        results = client.rerank(model="rank", query=query, documents=texts, top_n=top).results
    return [(texts[one.index], one.relevance_score) for one in results]


if __name__ == "__main__":
    _, address, most, asked, *given = sys.argv
    ways = (llama_index, haystack, cohere_v2)
    print(json.dumps({way.__name__: way(address, int(most), asked, given) for way in ways}))
