"""The tasks that models are made for, one file for each."""

from __future__ import annotations

from pgb_core.tasks.base import Objective, Source, Subject, Task
from pgb_core.tasks.classification import Classification
from pgb_core.tasks.qa import QuestionAnswering

TASKS: dict[str, Task] = {task.name: task for task in (Classification(), QuestionAnswering())}

__all__ = ["TASKS", "Objective", "Source", "Subject", "Task"]
