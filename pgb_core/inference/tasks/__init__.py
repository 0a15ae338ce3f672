"""The tasks of inference: what a model is asked, and how its logits are read. One file and a line of `TASKS` each."""

from __future__ import annotations

from pgb_core.inference.tasks.base import Task
from pgb_core.inference.tasks.classification import CLASSIFICATION
from pgb_core.inference.tasks.qa import QA

# By the name that a manifest has. `pgb_core.artifact.manifest` lists the same names: those that are read at all.
TASKS: dict[str, Task] = {CLASSIFICATION.name: CLASSIFICATION, QA.name: QA}
