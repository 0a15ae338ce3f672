"""The pictures of docs/load.md, from a report.

python -m tests.load.screenshots .load/load.html [--out docs/images]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

from tests.ui.browser import chromium

# File, colours, and the headings of the first and last section that it shows; None is the top of the page.
Shot = tuple[str, Literal["light", "dark"], str | None, str]
SHOTS: tuple[Shot, ...] = (
    ("load-latency.png", "light", None, "Latency against arrival rate"),
    ("load-stages.png", "light", "Where the time goes", "Goodput and refusals"),
    ("load-spike.png", "dark", "A spike", "A spike"),
)


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    args = parser.parse_args()
    with chromium() as browser:
        if browser is None:
            raise SystemExit("no Chromium; name one in $CHROMIUM")
        for name, scheme, first, last in SHOTS:
            page = browser.new_page(viewport={"width": 1180, "height": 900}, color_scheme=scheme)
            page.goto(args.report.resolve().as_uri())
            begin = (
                page.locator("section", has=page.get_by_role("heading", name=first)).bounding_box() if first else None
            )
            end = page.locator("section", has=page.get_by_role("heading", name=last)).bounding_box()
            if end is None:
                raise SystemExit(f"{args.report}: no section {last!r}")
            top = begin["y"] - 16 if begin else 0
            clip = {"x": 0, "y": top, "width": 1180, "height": end["y"] + end["height"] + 16 - top}
            page.screenshot(path=args.out / name, full_page=True, clip=clip)  # type: ignore[arg-type]
            page.close()


if __name__ == "__main__":
    main()
