"""Options of PGB."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from pgb_core.options.base import MethodOptions


class PGBOptions(MethodOptions):
    """Permutation and grouping: keeps the heads, channels, neurons and blocks that matter most to the loss."""

    summary: ClassVar[str] = "permutes and groups matrices in one shot, by the importance of weights to the loss"
    paper: ClassVar[str] = "PGB: One-Shot Pruning for BERT via Weight Grouping and Permutation, arXiv 2502.03984"
    acts_on: ClassVar[str] = "blocks"

    structure: Literal["auto", "shared", "disjoint", "nested"] = Field(
        "auto",
        description="shared: groups that choose their inputs; disjoint: the paper's blocks; nested: no groups; "
        "channels are put in one order, and each matrix reads the first of them; auto: in each half of a layer the one "
        "of shared and nested that keeps more importance for the time that it takes",
    )
    passes: int = Field(6, ge=1, description="passes of the search for groups")
    g_max: int = Field(6, ge=1, description="most disjoint groups of a matrix")
    from_predictions: bool = Field(
        False, description="score with labels drawn from the model's predictions, even if there are labels"
    )

    units_by: Literal["importance", "reconstruction"] = Field(
        "importance",
        description="what decides which heads, channels of heads and neurons of a sublayer stay, as many as importance "
        "says; reconstruction: the error of what the sublayer writes, after the others were fitted",
    )
    exchanges: int = Field(
        0,
        ge=0,
        le=1000,
        description="losses that are measured, without training, to correct the plan: sublayers exchange weights, and "
        "what lowers the loss on calibration rows stays (0 for none, else 50 or more are of use)",
    )

    @property
    def uses_labels(self) -> bool:
        """Scores are gradients of the loss on them."""
        return not self.from_predictions

    @property
    def continues(self) -> bool:
        """Its plan comes from scores, which any encoder has; trials and fits of the plan are of the dense model."""
        return not self.exchanges and self.units_by == "importance"
