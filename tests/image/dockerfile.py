"""The Dockerfile's last stage, read without Docker."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, NamedTuple

from kit.places import REPOSITORY


class Instruction(NamedTuple):
    word: str
    rest: str


def instructions() -> list[Instruction]:
    """Of the whole file, without comments, each in one line."""
    text = (REPOSITORY / "Dockerfile").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    return [Instruction(*line.split(None, 1)) for line in joined.splitlines() if line]


def last_stage() -> list[Instruction]:
    every = instructions()
    begins = max(place for place, each in enumerate(every) if each.word == "FROM")
    return every[begins:]


def arguments() -> dict[str, str]:
    """What can be said at `docker build`, with each default."""
    stated = [each.rest.split("=", 1) for each in last_stage() if each.word == "ARG"]
    return {name: default for name, default in stated}


def config(given: dict[str, str]) -> dict[str, Any]:
    """What `docker image inspect` should say of an image that was built with these arguments."""
    known = arguments() | given
    said: dict[str, Any] = {}
    for word, rest in last_stage():
        match word:
            case "LABEL":
                pairs = [part.split("=", 1) for part in shlex.split(rest)]
                said["Labels"] = {
                    name: re.sub(r"\$(\w+)", lambda found: known[found[1]], value)
                    for name, value in pairs
                }
            case "USER":
                said["User"] = rest
            case "EXPOSE":
                said["ExposedPorts"] = {f"{port}/tcp": {} for port in rest.split()}
            case "HEALTHCHECK":
                said["Healthcheck"] = {"Test": [rest]}
            case "ENTRYPOINT":
                said["Entrypoint"] = json.loads(rest)
            case "CMD":
                said["Cmd"] = json.loads(rest)
            case "FROM" | "ARG" | "COPY":
                pass
            case _:
                raise AssertionError(f"nobody has thought of {word} here")
    return said
