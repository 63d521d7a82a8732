"""`shop/tasks.py` of docs/writing-tasks.md: the blocks of that page, as they stand there, are the rest of this module."""

import re
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "writing-tasks.md"
MODULE: Final = "# shop/tasks.py\n"
BLOCKS: Final[list[str]] = re.findall(
    r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)
CALLS: Final = [block for block in BLOCKS if not block.startswith(MODULE)]

for block in BLOCKS:
    if block.startswith(MODULE):
        exec(compile(block, str(PAGE), "exec"))  # our own page
