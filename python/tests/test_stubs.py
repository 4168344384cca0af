"""The committed stubs say what proto/ says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from support import REPOSITORY

from mintage.v1 import caveat_pb2, error_reason_pb2, publisher_pb2, token_service_pb2

PROTO = REPOSITORY / "proto"

STUBS: dict[str, FileDescriptor] = {
    module.DESCRIPTOR.name: module.DESCRIPTOR
    for module in (caveat_pb2, error_reason_pb2, publisher_pb2, token_service_pb2)
}


def test_the_stubs_are_what_their_script_makes_of_proto() -> None:
    if sys.version_info >= (3, 13):
        pytest.skip("the oldest grpcio-tools that is supported has no wheels for this Python")
    check = [sys.executable, str(REPOSITORY / "python" / "scripts" / "stubs.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"run python/scripts/stubs.py:\n{done.stderr}"


def test_the_stubs_hold_the_messages_of_proto(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc", reason="proto/ is compiled with grpcio-tools")
    names = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    well_known = Path(protoc.__file__).parent / "_proto"
    output = tmp_path / "descriptors"
    include = [f"-I{PROTO}", f"-I{well_known}"]
    assert protoc.main(["protoc", *include, f"--descriptor_set_out={output}", *names]) == 0
    files = descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes()).file
    assert [file.name for file in files] == sorted(STUBS)
    for file in files:
        committed = descriptor_pb2.FileDescriptorProto()
        STUBS[file.name].CopyToProto(committed)
        # A name in lower camel case, which only JSON needs: protoc adds it in some outputs.
        for message in (*file.message_type, *committed.message_type):
            for field in message.field:
                field.ClearField("json_name")
        assert committed == file, f"run python/scripts/stubs.py: {file.name}"


def test_the_oldest_that_is_tested_is_the_oldest_that_is_promised() -> None:
    python = REPOSITORY / "python"
    project = (python / "pyproject.toml").read_text()
    needed = re.search(r"^dependencies = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)
    assert needed is not None
    promised = dict(re.findall(r'"([\w-]+)>=([\d.]+)[^"]*",', needed[1]))
    tested = _pins(python / "tests" / "requirements-oldest.txt")
    assert set(promised) == {"googleapis-common-protos", "grpcio", "protobuf"}
    for name, version in promised.items():
        assert tested[name] in (version, f"{version}.0"), name
    # Stubs work with the versions they were made for and later ones.
    made = _pins(python / "scripts" / "stubs-requirements.txt")
    assert made["grpcio-tools"] == tested["grpcio"] and made["protobuf"] == tested["protobuf"]


def test_both_sets_of_tests_are_pinned_alike() -> None:
    own = _pins(REPOSITORY / "python" / "tests" / "requirements.txt")
    interop = _pins(REPOSITORY / "tests" / "interop" / "requirements.txt")
    assert {name: own[name] for name in own.keys() & interop.keys()} == {
        name: interop[name] for name in own.keys() & interop.keys()
    }


def _pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+)==([\w.]+)", path.read_text(), re.MULTILINE))
