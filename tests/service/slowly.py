"""The service, but the model that is named `slow` takes minutes to load."""

import sys
import time
from typing import Any

from pgb_core.artifact import Artifact
from service.__main__ import main
from service.models import loader
from service.models.model import Model


def make(artifact: Artifact, name: str, *args: Any) -> Model:
    """See Model."""
    if name == "slow":
        time.sleep(300)
    return Model(artifact, name, *args)


if __name__ == "__main__":
    loader.Model = make  # type: ignore[assignment, misc]
    sys.exit(main())
