"""The blocks of a page in docs/, and the commands of all pages."""

import re
from collections.abc import Iterable
from pathlib import Path

PAGES = ("README.md", "CONTRIBUTING.md", "config/README.md", "docs/configuration.md", "docs/how-to/*.md")


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """(language, text) of each block of a page, in their order; of some languages only, if some are given."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, text) for language, text in found if not languages or language in languages]


def commands(root: Path, program: str, pages: Iterable[str] = PAGES) -> list[str]:
    """Command lines of the pages that call a program, without its name, sorted; from code blocks and from the text."""
    texts = [file.read_text(encoding="utf-8") for page in pages for file in sorted(root.glob(page))]
    blocks = [block for text in texts for block in re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [line for text in texts for line in re.findall(r"`([^`\n]+)`", text)]
    calls = {re.fullmatch(rf"(?:\w+=\S+ )*(?:\.venv/bin/)?{program} (.*)", line) for line in lines}
    return sorted(call[1] for call in calls if call)
