"""Prometheus' programs."""

import os
import shutil

import pytest

from places import VENV


def program(name: str) -> str:
    """Where `scripts/prometheus` leaves it, or on the PATH."""
    found = shutil.which(name, path=os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)]))
    if found is None and os.environ.get("CI"):
        pytest.fail(f"there is no {name}; see scripts/prometheus")
    if found is None:
        pytest.skip(f"NOT TESTED: there is no {name}; see scripts/prometheus")
    return found
