"""Stages that methods share, each done once and kept: scores, training toward a plan, compensation, re-finetuning."""

from pgb_core.methods.steps.budget import NEAR, TOO_LARGE, counted_tokens, tell_budget
from pgb_core.methods.steps.recover import recovered, recovery, recovery_effort
from pgb_core.methods.steps.refinetune import REFINETUNING, cut, finish, finished, finishing_effort, seconds_of_training
from pgb_core.methods.steps.score import CALIBRATION_TOKENS, SCORE_TOKEN, scores, scoring, scoring_effort
from pgb_core.methods.steps.shape import (
    SHAPING,
    shaped,
    shaped_and_cut,
    shaping,
    shaping_effort,
    shaping_stages,
    shaping_stages_effort,
    weights_of,
)
from pgb_core.methods.steps.train import step_count

__all__ = [
    "CALIBRATION_TOKENS",
    "NEAR",
    "REFINETUNING",
    "SCORE_TOKEN",
    "SHAPING",
    "TOO_LARGE",
    "counted_tokens",
    "cut",
    "finish",
    "finished",
    "finishing_effort",
    "recovered",
    "recovery",
    "recovery_effort",
    "scores",
    "scoring",
    "scoring_effort",
    "seconds_of_training",
    "shaped",
    "shaped_and_cut",
    "shaping",
    "shaping_effort",
    "shaping_stages",
    "shaping_stages_effort",
    "step_count",
    "tell_budget",
    "weights_of",
]
