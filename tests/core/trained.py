"""Short trainings of a small random encoder under a regime, for tests of what regimes do."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pgb_core.learn.finetune import Schedule, Trainer
from pgb_core.learn.regime import Regime
from pgb_core.model.encoder import Encoder
from tests.conftest import small_encoder
from tests.core.test_training import LABEL, features

SCHEDULE = Schedule(epochs=5, tokens=128, learning_rate=1e-3)


def trained(regime: Callable[[Encoder], Regime], steps: int | None = None) -> Trainer:
    """A training up to a step, or to its end."""
    model = small_encoder("bert", "classification", num_hidden_layers=2)
    found = Trainer(model, None, features(), LABEL, SCHEDULE, [regime(model)])
    found.run(steps)
    return found


def assert_resumed_the_same(regime: Callable[[Encoder], Regime]) -> None:
    """A training that was stopped half way ends as one that was not: weights, and what the regime keeps."""
    whole = trained(regime)
    half, rest = trained(regime, whole.steps // 2), trained(regime, 0)
    rest.restore({name: value.clone() for name, value in half.state().items()})
    rest.run()
    ended, resumed = whole.state(), rest.state()
    assert ended.keys() == resumed.keys()
    assert not [name for name, value in ended.items() if not torch.equal(value, resumed[name])]
