"""What a tool printed, held against the transcript that is kept in `transcripts/`.

What differs from run to run is replaced: addresses, tokens, folders, sizes, times. With
`MINTAGE_TEST_REGENERATE` set, the transcripts are written anew; read them before committing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .places import TRANSCRIPTS
from .processes import SECRET
from .tools import Run

_VOLATILE = [
    (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
    (r"https?://(localhost|127\.0\.0\.1):\d+", "https://index.example"),
    (r"pypi-[A-Za-z0-9_-]{20,}", "pypi-…"),
    (r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", "<ID token>"),
    (r"\(\d+(\.\d+)?[KM]?i?B\)", "(size)"),
    (r"\d\d\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(Z| UTC)?", "<time>"),
    (r"\b\d+ s\b", "… s"),
    (r'(publisher|project id) (\\?")[0-9A-F]+(\\?")', r"\1 \2…\3"),
    (r"pdm-publish-\w+\.log", "pdm-publish-….log"),
    (r"^.*━.*\n", ""),
    (r"[ \t]+$", ""),
]


def transcript(run: Run, home: Path) -> str:
    """The run as a person would show it: the command, what was printed, how it ended."""
    shown = " ".join(_shorter(part, home) for part in run.command)
    output = run.output.replace("\r", "\n").replace(str(home), "~")
    for pattern, replacement in _VOLATILE:
        shown = re.sub(pattern, replacement, shown)
        output = re.sub(pattern, replacement, output, flags=re.MULTILINE)
    output = re.sub(r"\n{3,}", "\n\n", output).strip("\n")
    return f"$ {shown}\n{output}\n[exit status {run.code}]\n"


def hold(name: str, *transcripts: str) -> None:
    """Fails where these are not what `transcripts/NAME.txt` holds."""
    path = TRANSCRIPTS / f"{name}.txt"
    text = "\n".join(transcripts)
    assert not SECRET.search(text)
    if os.environ.get("MINTAGE_TEST_REGENERATE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.is_file(), f"{path.name} is missing; set MINTAGE_TEST_REGENERATE to write it"
    assert text == path.read_text()


def _shorter(part: str, home: Path) -> str:
    """Programs by their names alone, files as seen from the folder that they are in."""
    if part.startswith(str(home)):
        return "/".join(Path(part).parts[-2:])
    return Path(part).name if part.startswith("/") else part
