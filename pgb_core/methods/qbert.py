"""Q-BERT: the layers with the largest curvature of the loss stay in float32, others become int8 (arXiv 1909.05840)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pgb_core.learn.aware import Aware
from pgb_core.learn.curvature import curvature, sensitivity
from pgb_core.learn.regime import Regime
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed
from pgb_core.methods.planned import plan_effort, plan_stages, planned
from pgb_core.methods.quantised import PLANNED, Quantised, warn
from pgb_core.model.encoder import Encoder
from pgb_core.options.q8bert import Q8BertOptions
from pgb_core.options.qbert import QBertOptions
from pgb_core.plan import Plan, Site
from pgb_core.run.run import Run, Stage
from pgb_core.search.telling import check_telling
from pgb_core.tasks.features import batches, token_count

BATCH_TOKENS = 512  # small, so that there are several
CURVATURE_TOKEN = 40  # expected work of a layer, in tokens through the dense model
DECAY = Q8BertOptions.model_validate({}).ema_decay


class QBert(Quantised):
    """Measure the curvature of the dense model, choose the layers that stay exact, train the others for int8."""

    def settings(self, run: Run) -> Sequence[object]:
        """See Quantised."""
        return "qbert", DECAY

    def regime(self, run: Run, compact: Encoder) -> Regime:
        """See Quantised."""
        return Aware(compact, DECAY)

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        before, options = plan_stages(run, PLANNED), run.options(QBertOptions)
        curved = run.first(
            "curvature", "qbert", run.inputs.calibration_digest, run.config.seed, options.sensitivity_rows
        )
        chosen = before[-1].then("precision", curved.digest, options.exact)
        return *before, curved, chosen, *steps.recovery(run, chosen, *self.settings(run))

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        tokens = token_count(run.inputs.calibration[: self._rows(run)])
        measuring = {"Measuring the curvature of the loss": CURVATURE_TOKEN * tokens * run.dense.config.layers}
        return {**plan_effort(run, PLANNED), **measuring, **steps.recovery_effort(run)}

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        warn(run)
        before = plan_stages(run, PLANNED)
        curved, chosen, *after = self.stages(run)[len(before) :]
        plan = planned(run, PLANNED, before)
        found = run.lasting(curved, lambda: self._measured(run))

        def decided() -> Plan:
            if run.options(QBertOptions).exact:
                check_telling((values.cpu() for values in found.values()), "layer", "q8bert")
            sensitive = {int(name): sensitivity(values.cpu()) for name, values in found.items()}
            return replace(plan, exact=most_sensitive(plan, sensitive, run.options(QBertOptions).exact))

        plan = run.kept_plan(chosen, decided)
        exact = sorted({site.layer for site in plan.exact})
        run.report.note(f"layers that stay in float32 in int8 forms: {', '.join(map(str, exact)) or 'none'}")
        return self.trained(run, plan, after)

    def _rows(self, run: Run) -> int:
        return math.ceil(run.options(QBertOptions).sensitivity_rows * len(run.inputs.calibration))

    def _measured(self, run: Run) -> Mapping[str, Tensor]:
        groups = list(batches(run.inputs.calibration[: self._rows(run)], BATCH_TOKENS, run.dense.config.pad_id))
        run.report.stage("Measuring the curvature of the loss", len(groups) * run.dense.config.layers)
        objective = run.checkpoint.subject.objective
        with torch.enable_grad():
            found = curvature(run.dense, groups, objective, run.config.seed, run.report.advance)
        return {str(index): values for index, values in found.items()}


def most_sensitive(plan: Plan, sensitivities: Mapping[int, float], share: float) -> frozenset[Site]:
    """The maps of the most sensitive layers, a share of all, rounded up; of those of which something is left.

    sensitivities: by the layer's index.
    """
    left = {site.layer for site, choice in plan.choices.items() if choice.cost}
    ranked = sorted(left, key=lambda index: (-sensitivities[index], index))
    picked = set(ranked[: math.ceil(share * len(sensitivities))])
    return frozenset(site for site, choice in plan.choices.items() if site.layer in picked and choice.cost)
