"""LayerDrop: layers skipped at random in training, and removed evenly at the end (Fan et al. 2019, 1909.11556)."""

from __future__ import annotations

from collections.abc import Sequence

from pgb_core.learn.layer_drop import LayerDrop
from pgb_core.methods import steps
from pgb_core.methods.base import Compressed, Method
from pgb_core.methods.whole_parts import tell_budget
from pgb_core.options.layerdrop import LayerDropOptions
from pgb_core.plan import Choice, Keep, Plan, Site, nothing
from pgb_core.run.run import Run, Stage
from pgb_core.search.layers import evenly

DROPPING = 0.5  # share of the epochs in which layers are left out at random; the rest trains those that stay


class LayerDropPruning(Method):
    """Train with layers left out, keep some evenly, re-finetune them."""

    def stages(self, run: Run) -> Sequence[Stage]:
        """See Method."""
        begun = run.first("begun", "layerdrop")
        shaped = steps.shaping(run, begun, DROPPING, run.options(LayerDropOptions).layer_drop)
        return shaped, steps.finish(run, shaped, 1 - DROPPING)

    def effort(self, run: Run) -> dict[str, float]:
        """See Method."""
        return {**steps.shaping_effort(run, DROPPING), **steps.finishing_effort(run, 1 - DROPPING)}

    def compress(self, run: Run) -> Compressed:
        """See Method."""
        shaping, finish = self.stages(run)
        rate = run.options(LayerDropOptions).layer_drop
        model = steps.shaped(run, shaping, DROPPING, lambda model: [LayerDrop(model, rate)])
        plan = _plan(run)
        tell_budget(run, plan)
        compact = steps.cut(run, plan, model)
        return Compressed(steps.finished(run, compact, finish, 1 - DROPPING), plan)


def _plan(run: Run) -> Plan:
    """Each layer stays as it is or goes whole."""
    stays = evenly(run.dense.config.layers, run.config.keep)
    choices: dict[Site, Choice] = {}
    for site, shape in run.dense.shapes().items():
        choices[site] = Keep(shape) if site.layer in stays else nothing(shape)
    return run.plan(choices)
