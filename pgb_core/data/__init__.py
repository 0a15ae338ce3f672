"""Labelled and unlabelled text, from files or the hub, and labels as a model's head wants them."""

from pgb_core.data.labels import LabelReading, read_labels
from pgb_core.data.read import read_data
from pgb_core.data.rows import Columns, Data, Flags, Label, Named, Question, Row, TextRow
from pgb_core.data.squad import unplaced

__all__ = [
    "Columns",
    "Data",
    "Flags",
    "Label",
    "LabelReading",
    "Named",
    "Question",
    "Row",
    "TextRow",
    "read_data",
    "read_labels",
    "unplaced",
]
