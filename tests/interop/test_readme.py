"""The README's Python example, as a reader would run it."""

import re
from pathlib import Path

import grpc
import pytest

README = Path(__file__).resolve().parent.parent.parent / "README.md"
ADDRESS = "127.0.0.1:50051"


def test_the_example_in_the_readme_runs(mintage, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    example = "\n".join(blocks)
    assert example.count(ADDRESS) == 1
    names = {}
    exec(compile(example.replace(ADDRESS, mintage.address), str(README), "exec"), names)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("pypi-AgE")
    assert shown[1] == "welcome, 42"

    with pytest.raises(grpc.RpcError) as caught:
        names["exchange"]("not an ID token", "a request")
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    names["channel"].close()
