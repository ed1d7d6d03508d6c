"""The blocks of a page in docs/."""

import re
from pathlib import Path


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """(language, text) of each block of a page, in their order; of some languages only, if some are given."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, text) for language, text in found if not languages or language in languages]
