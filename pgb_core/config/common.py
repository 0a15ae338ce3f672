"""Settings of every command that makes artifacts."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pgb_core.artifact import TASKS
from pgb_core.config.values import Named, Place, PlaceOrNone, known_forms, listed, one_of, several


class CommonConfig(BaseModel):
    """Settings that all commands that make artifacts have: the model, the rows, how to read them, where to run."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    checkpoint: Place = Field(
        description="Hugging Face directory or hub name (safetensors weights), or an adapter that PEFT wrote"
    )
    task: Annotated[str, one_of(TASKS)] | None = Field(
        None, description="task of the model; by default the one that the checkpoint was trained for"
    )
    train: Place | None = Field(
        None, description="file of labelled rows, from which the compressed model learns in re-finetuning"
    )
    calibrate: Place | None = Field(
        None,
        description="file of rows, labelled or not, on which weights are scored and the pruned model is compensated; "
        "by default the rows of --train",
    )
    eval: Place | None = Field(
        None,
        description="file of labelled rows; the metrics of the dense and the compressed model on them go into the "
        "manifest",
    )
    text_column: Named | None = Field(None, description="column of the text, if its name is not recognised")
    pair_column: Named | None = Field(None, description="column of the second text of a pair")
    label_column: Annotated[tuple[Named, ...], BeforeValidator(several)] = Field(
        (),
        description="column of the label; repeat it for each column of 0 and 1 of a multi-label checkpoint",
    )
    labels: Literal["names", "ids", "vector"] | None = Field(
        None,
        description="how labels are written, if a file can be read in two ways: as names of the classes, as their ids, "
        "or as vectors of 0 and 1",
    )
    vocabulary: Literal["all", "used"] = Field(
        "all",
        description="tokens that the artifact keeps: all; or used: those that the texts of the data use, and the "
        "smaller ones into which any other text can be split",
    )
    vocabulary_text: Place | None = Field(
        None,
        description="file of more texts whose tokens are kept, such as a .txt with a text a line; only with "
        "--vocabulary used",
    )
    trust_labels: bool = Field(False, description="continue even if the checkpoint contradicts the labels")
    distill: bool = Field(True, description="learn from the dense model as teacher in re-finetuning")
    samples: int = Field(
        1024, ge=1, description="largest number of rows on which weights are scored and the pruned model is compensated"
    )
    max_length: int | None = Field(
        None,
        ge=16,
        description="tokens to which rows are cut while learning; the artifact takes as many as the checkpoint "
        "(default: 128, and 192 for qa)",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device to compute on; auto takes a GPU if there is one"
    )
    forms: Annotated[tuple[str, ...], BeforeValidator(listed), AfterValidator(known_forms)] = Field(
        ("fp32", "int8"),
        description="forms of the model that the artifact carries, separated by commas (docs/runtimes.md lists them); "
        "the service serves the fastest one that loses little",
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="threads to compute with; by default one for each core of this process, or "
        "OMP_NUM_THREADS if that is less",
    )
    cache: PlaceOrNone | None = Field(
        None,
        description="directory that keeps scores of weights and outputs of the dense model for later runs, 2 GiB at "
        "most; an empty value keeps none (default: the directory that PGB_CACHE names, or pgb-serve in the user's "
        "cache directory if PGB_CACHE is not set)",
    )

    @model_validator(mode="after")
    def _has_texts(self) -> Self:
        sources = (self.train, self.calibrate, self.eval, self.vocabulary_text)
        if self.vocabulary == "used" and all(source is None for source in sources):
            raise ValueError(
                "vocabulary used: no texts say what is used; give --train, --calibrate, --eval or --vocabulary-text"
            )
        if self.vocabulary_text is not None and self.vocabulary != "used":
            raise ValueError("--vocabulary-text is read for --vocabulary used alone; give that too, or leave it out")
        return self
