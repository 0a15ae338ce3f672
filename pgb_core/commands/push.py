"""`pgb push`."""

from __future__ import annotations

import argparse
from os.path import expanduser

from pgb_core.commands.base import Command

_NOTES = """
Needs the extra `hub`, and HF_TOKEN in the environment. Only the files that the manifest names are sent, and each is
checked against its hash first. `pgb serve hf://REPO` and `pgb_core.load("hf://REPO")` open the artifact.
"""


def add(p: argparse.ArgumentParser) -> None:
    """Artifact and repository."""
    p.add_argument("artifact", type=expanduser, help="directory of an artifact")
    p.add_argument("repo", help="OWNER/NAME on the hub; created if it does not exist")
    p.add_argument("--private", action="store_true", help="make the repository private")


def run(args: argparse.Namespace) -> int:
    """Send the artifact."""
    from pgb_core import hub

    print(hub.push(args.artifact, args.repo, args.private))
    return 0


COMMAND = Command("put an artifact on the Hugging Face hub", add, run, _NOTES)
