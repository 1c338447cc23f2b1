"""Draws the README's picture of a report: the page about the samples, as a browser shows its beginning.

    python tests/report/picture.py [FILE.png]

Needs Chromium. What is kept in man/ was made smaller by a palette of 256 colours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from browser import chromium

ROOT = Path(__file__).resolve().parent.parent.parent
WIDTH, HEIGHT = 1000, 1590


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "man" / "report.png"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = Path(folder) / "report.html"
        command = [str(Path(sys.executable).with_name("mailguard")), "replay", "--year", "2026"]
        logs = sorted(str(log) for log in (ROOT / "samples" / "logs").glob("*.log"))
        subprocess.run(
            [*command, "--timezone", "UTC", "--language", "en", "-o", "csv", "--html", str(page), *logs],
            env={**os.environ, "TZ": "UTC"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        with chromium(Path(folder) / "home") as browser:
            tab = browser.tab()
            tab.look(WIDTH, HEIGHT)
            tab.open(page)
            target.write_bytes(tab.picture(whole=False))
    print(target)


if __name__ == "__main__":
    main()
