"""A parser of a command line on which flags are written out, and no flag is given twice.

argparse guesses a flag from its beginning, and takes the last of several values without a word.
"""

from __future__ import annotations

import argparse
from typing import Any


class Once(argparse.Action):
    """Keeps the value of a flag, once."""

    _given = False

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        """See argparse. Raises ArgumentError where the flag was there before."""
        if option_string is not None and self._given:
            raise argparse.ArgumentError(self, "is given twice, and has one value; give it once")
        self._given = True
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """A parser whose flags have one value each."""

    keeps: type[argparse.Action] = Once

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)
        for name in (None, "store"):  # how argparse looks up what keeps a value
            self.register("action", name, self.keeps)
