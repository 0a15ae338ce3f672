"""Routes of the KServe v1 dialect: /v1/models/{name}, with :predict and :explain."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from pgb_core.inference.tasks.classification import Labelling
from pgb_core.inference.tasks.qa import Options, Question, Windowing
from service.dialects.common import USE, Name, call_of, documented, engine_of, registry_of, shown, timed
from service.dialects.kserve import schemas as kserve
from service.dialects.strict import StrictRoute
from service.engine import Target
from service.errors import InvalidInput, UnknownModel

router = APIRouter(
    prefix="/v1/models",
    tags=["kserve v1"],
    responses=documented(kserve.KServeError, 415),
    dependencies=USE,
    route_class=StrictRoute,
)


@router.post("/{name}:predict", response_model=kserve.PredictionsResponse)
async def predict(name: Name, asked: kserve.InstancesRequest, request: Request) -> JSONResponse:
    """Label texts or answer questions, depending on the body."""
    call, engine, target = call_of(request), engine_of(request), Target(name)
    given = [kserve.Instance(text=item) if isinstance(item, str) else item for item in asked.instances]
    texts = [one.text if one.text_pair is None else (one.text, one.text_pair) for one in given if one.text is not None]
    questions = [
        Question(one.question, one.context) for one in given if one.question is not None and one.context is not None
    ]
    if not questions:
        rows = await engine.classify(call, target, texts, Labelling())
        return timed({"predictions": [[{"label": s.label, "score": s.score} for s in row] for row in rows]}, call)
    if texts:
        raise InvalidInput("instances must be all texts, or all questions")
    found = await engine.answer(call, target, questions, Windowing(), Options())
    return timed({"predictions": [shown(row[0] if row else None) for row in found]}, call)


@router.post("/{name}:explain", include_in_schema=False)
async def explain(name: Name, request: Request) -> JSONResponse:
    """Always 404: the protocol has this path for models with an explainer, and no model here has one."""
    registry_of(request).peek(name)
    raise UnknownModel("no model has an explainer; use :predict")


@router.get("/{name}", response_model=kserve.ModelReady)
async def ready(name: Name, request: Request) -> dict[str, object]:
    """200 when this model answers."""
    if name.endswith((":predict", ":explain")):  # the paths of the other routes
        raise HTTPException(405, headers={"Allow": "POST"})
    request.app.state.lifecycle.check_model(registry_of(request).peek(name))
    return {"name": name, "ready": True}
