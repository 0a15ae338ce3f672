"""Copies into the chart what it ships of the files beside it, because a chart reads no file outside its folder.

python deploy/helm/chart_files.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

_CHART = Path(__file__).parent / "pgb-serve"
_DOCKER = Path(__file__).parents[2] / "docker"
COPIES = {
    _CHART / "files" / "rules.yml": _DOCKER / "prometheus" / "rules.yml",
    _CHART / "files" / "dashboard.json": _DOCKER / "grafana" / "dashboards" / "service.json",
}


def main() -> None:
    """Write every copy anew."""
    for copy, source in COPIES.items():
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, copy)


if __name__ == "__main__":
    main()
