"""Build the lessons as web pages from their stored outputs: python tools/book.py [FOLDER]; default docs/_build/html."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def page(lesson: Path) -> str:
    """The web page of a lesson; links to other lessons lead to their pages."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="book", extra_template_basedirs=[str(ROOT / "tools")])
    text, _ = exporter.from_filename(str(lesson))
    return re.sub(r'(href="[\w./-]+)\.ipynb(#[^"]*)?"', r'\1.html\2"', text)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for lesson in sorted((ROOT / "notebooks").glob("*.ipynb")):
        (folder / f"{lesson.stem}.html").write_text(page(lesson), encoding="utf-8")
        print(folder / f"{lesson.stem}.html")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs" / "_build" / "html")
