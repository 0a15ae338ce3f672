"""`python -m service ARTIFACT …`: one server process."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import uvicorn
from pydantic import ValidationError

from pgb_core.artifact import open_artifact
from pgb_core.errors import PGBError
from service.app import create_app
from service.settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m service", description=__doc__)
    parser.add_argument("artifacts", nargs="*", help="directories of models; by default PGB_ARTIFACTS")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    args = parser.parse_args(argv)
    given = {name: value for name, value in vars(args).items() if value not in (None, [])}
    try:
        settings = Settings(**given)
        for path in settings.artifacts:
            open_artifact(path)
    except (ValidationError, PGBError) as error:
        lines = (
            [f"{e['loc'][0]}: {e['msg']}" for e in error.errors()] if isinstance(error, ValidationError) else [error]
        )
        print(f"pgb serve: {lines[0]}", file=sys.stderr)
        return 1
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
