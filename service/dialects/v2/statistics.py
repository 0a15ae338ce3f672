"""Statistics of a model as Triton's extension of the protocol has them."""

from __future__ import annotations

from service.models.model import Model
from service.observe.metrics import STAGES
from service.observe.statistics import Spent


def statistics_of(model: Model) -> dict[str, object]:
    """What a version has done since it was loaded."""
    found = model.statistics
    queue, infer = found.stages["queue"], found.stages["infer"]
    compute = {
        "compute_input": found.stages[STAGES[0]],
        "compute_infer": infer,
        "compute_output": found.stages[STAGES[3]],
    }
    none = Spent()
    parts = {"success": found.success, "fail": found.fail, "queue": queue, **compute}
    parts |= {"cache_hit": none, "cache_miss": none}
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": round(1e3 * found.last),
        "inference_count": found.inferences,
        "execution_count": found.executions,
        "inference_stats": {name: {"count": s.count, "ns": s.ns} for name, s in parts.items()},
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": {"count": s.count, "ns": 0},
                "compute_infer": {"count": s.count, "ns": s.ns},
                "compute_output": {"count": s.count, "ns": 0},
            }
            for size, s in sorted(found.batches.items())
        ],
        "memory_usage": [],
    }
