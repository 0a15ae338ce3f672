"""The picture of docs/operations.md, from the page that benchmarks/alerts draws.

python -m tests.deploy.screenshots build/alerts.html [--out docs/images/alerts.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.ui.browser import chromium


def main() -> None:
    """Take it, whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images/alerts.png"))
    args = parser.parse_args()
    with chromium() as browser:
        if browser is None:
            raise SystemExit("no Chromium; name one in $CHROMIUM")
        page = browser.new_page(viewport={"width": 1260, "height": 800})
        page.goto(args.page.resolve().as_uri())
        page.screenshot(path=args.out, full_page=True)


if __name__ == "__main__":
    main()
