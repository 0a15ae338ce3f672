"""Options of PGB."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from pgb_core.options.base import MethodOptions


class PGBOptions(MethodOptions):
    """Permutation and grouping: keeps the heads, channels, neurons and blocks that matter most to the loss."""

    summary: ClassVar[str] = "permutes and groups matrices in one shot, by the importance of weights to the loss"
    paper: ClassVar[str] = "PGB: One-Shot Pruning for BERT via Weight Grouping and Permutation, arXiv 2502.03984"
    acts_on: ClassVar[str] = "blocks"

    structure: Literal["auto", "shared", "disjoint", "nested"] = Field(
        "auto",
        description="auto: for each attention and each feed-forward part, shared or nested, whichever keeps more "
        "importance for its run time; shared: groups of outputs, each with inputs of its own choice; disjoint: the "
        "paper's blocks, which share no row and no column; nested: no groups, but one order of the channels of the "
        "residual stream, of which each matrix reads the first ones",
    )
    passes: int = Field(6, ge=1, description="largest number of passes of the search for groups")
    g_max: int = Field(6, ge=1, description="largest number of disjoint groups in a matrix")
    from_predictions: bool = Field(
        False,
        description="score weights with labels drawn from the predictions of the dense model, even if the rows have "
        "labels",
    )

    units_by: Literal["importance", "reconstruction"] = Field(
        "importance",
        description="what decides which heads, channels of heads and neurons of a sublayer stay; importance decides "
        "how many in either case. reconstruction: those whose removal would change the output of the sublayer most, "
        "after the others are fitted anew",
    )
    price_weight: float | None = Field(
        None,
        ge=0,
        le=1,
        description="how much run time counts beside the number of weights when a plan is made, from 0 (not at all) to "
        "1 (in full). With a larger value a plan of the same size is faster and keeps less importance (default 0.1 for "
        "forms in int8, 1 for the others)",
    )

    @model_validator(mode="after")
    def _acts(self) -> Self:
        given = self.model_fields_set
        if "passes" in given and self.structure == "nested":
            raise ValueError("--passes limits the search for groups, and --structure nested has none; leave it out")
        if "g_max" in given and self.structure != "disjoint":
            raise ValueError("--g-max limits disjoint groups; give --structure disjoint too, or leave it out")
        return self

    @property
    def uses_labels(self) -> bool:
        """Scores are gradients of the loss on them."""
        return not self.from_predictions

    @property
    def continues(self) -> bool:
        """Its plan comes from scores, which any encoder has; fits of the plan are of the dense model."""
        return self.units_by == "importance"

    @property
    def priced(self) -> bool:
        """Its plan weighs parts by their run time."""
        return True
