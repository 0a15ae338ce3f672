"""Routes of the rerank dialect, /v1/rerank and /v2/rerank: documents ranked by a query."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from pgb_core.inference.tasks.classification import Labelling
from service.dialects.common import USE, call_of, documented, engine_of, timed
from service.dialects.rerank import schemas
from service.dialects.strict import StrictRoute
from service.engine import Target

ERRORS = documented(schemas.RerankError, 415, 422)
router = APIRouter(tags=["rerank"], dependencies=USE, route_class=StrictRoute, responses=ERRORS)


@router.post("/v1/rerank", response_model=schemas.RerankResponse)
async def rerank_v1(asked: schemas.RerankDocumentsRequest, request: Request) -> JSONResponse:
    """Rank documents by a query, with a model of one label."""
    return await _rerank(asked, "1", request)


@router.post("/v2/rerank", response_model=schemas.RerankResponse)
async def rerank_v2(asked: schemas.RerankDocumentsRequest, request: Request) -> JSONResponse:
    """Rank documents by a query, with a model of one label: the same as /v1/rerank."""
    return await _rerank(asked, "2", request)


async def _rerank(asked: schemas.RerankDocumentsRequest, version: str, request: Request) -> JSONResponse:
    call = call_of(request)
    texts = [one if isinstance(one, str) else one.text for one in asked.documents]
    options = Labelling("sigmoid", max_length=asked.max_tokens_per_doc)
    ranks = await engine_of(request).rank(call, Target(asked.model), asked.query, texts, options)
    found = [
        {
            "index": n,
            "relevance_score": score,
            **({"document": {"text": texts[n]}} if asked.return_documents else {}),
        }
        for n, score in ranks[: asked.top_n]
    ]
    said = {
        "id": call.id,
        "model": call.model,
        "results": found,
        "usage": {"total_tokens": call.tokens},
        "meta": {"api_version": {"version": version}},
    }
    return timed(said, call)
