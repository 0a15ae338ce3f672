"""Reads labelled and unlabelled text from files or the hub, and converts labels to what a model's head needs."""

from pgb_core.data.labels import read_labels
from pgb_core.data.read import check_there, read_data
from pgb_core.data.rows import Columns, Data, QuestionRow, Row, TextRow
from pgb_core.data.squad import unplaced

__all__ = ["Columns", "Data", "QuestionRow", "Row", "TextRow", "check_there", "read_data", "read_labels", "unplaced"]
