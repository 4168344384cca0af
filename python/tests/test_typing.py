"""The package's types, and what its users' type checker makes of them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from support import REPOSITORY

import mintage
import mintage.aio

PYTHON = REPOSITORY / "python"
SAMPLE = Path(__file__).parent / "typing_sample.py"


@pytest.mark.parametrize("what", [["-p", "mintage"], [str(SAMPLE)]], ids=["package", "sample"])
def test_strict_mypy_has_nothing_to_say(what: list[str]) -> None:
    pytest.importorskip("mypy", reason="types are checked where mypy is")
    check = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", *what]
    done = subprocess.run(check, cwd=PYTHON, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


def test_both_clients_have_the_same_methods() -> None:
    names = {name for name in vars(mintage.Client) if not name.startswith("_")}
    assert names == {name for name in vars(mintage.aio.Client) if not name.startswith("_")}
    for name in (*names, "__init__"):
        waiting = inspect.signature(getattr(mintage.Client, name))
        asynchronous = inspect.signature(getattr(mintage.aio.Client, name))
        assert waiting == asynchronous, name


def test_everything_public_is_there_and_documented() -> None:
    for name in mintage.__all__:
        public = getattr(mintage, name)
        if inspect.isclass(public) or inspect.isfunction(public):
            assert public.__doc__, name
    with pytest.raises(AttributeError):
        mintage.nothing_of_that_name  # noqa: B018
