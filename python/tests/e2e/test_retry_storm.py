"""uv's mint is answered with a cut connection after Mintage has minted: its retry gets a token."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator

import pytest

from kit.certificates import Certificate
from kit.fronts import CuttingFront
from kit.index import ExampleIndex
from kit.mintage import AUDIENCE
from kit.scene import Scene
from kit.uploaders import Uv

MINT = "/_/oidc/mint-token"


@pytest.fixture
def front(plain_index: ExampleIndex, certificate: Certificate) -> Iterator[CuttingFront]:
    front = CuttingFront(plain_index.port, certificate)
    yield front
    front.close()


@pytest.mark.parametrize("cuts", [1, 3])
def test_uv_gets_its_token_after_cut_connections(
    make_scene: Callable[[ExampleIndex], Scene],
    plain_index: ExampleIndex,
    front: CuttingFront,
    cuts: int,
) -> None:
    scene = make_scene(plain_index)
    name = f"stormy-{cuts}"
    scene.project(name)
    files = scene.dist(name)
    job = scene.github_job(name).environment | {"UV_HTTP_RETRIES": "3"}
    front.cut(MINT, cuts)
    [run] = Uv(scene.tools).publish(f"{front.url}/legacy/", files, job)
    assert run.code == 0, run.output
    assert scene.has(files)
    answers = [(status, json.loads(body)) for path, status, body in front.answers if path == MINT]
    assert [status for status, _ in answers] == [200] * (cuts + 1)
    assert len({body["token"] for _, body in answers}) == 1


def test_uv_gives_up_when_every_answer_is_cut_and_has_uploaded_nothing(
    make_scene: Callable[[ExampleIndex], Scene], plain_index: ExampleIndex, front: CuttingFront
) -> None:
    """Here the next run, with the job's next ID token, succeeds: nothing stands in its way."""
    scene = make_scene(plain_index)
    scene.project("storm-without-end")
    files = scene.dist("storm-without-end")
    job = scene.github_job("storm-without-end").environment
    before = plain_index.uploads()
    front.cut(MINT, 100)
    [run] = Uv(scene.tools).publish(f"{front.url}/legacy/", files, job)
    assert run.code != 0 and plain_index.uploads() == before
    front.cut(MINT, 0)
    [run] = Uv(scene.tools).publish(f"{front.url}/legacy/", files, job)
    assert run.code == 0 and scene.has(files)


def mint(index: ExampleIndex, id_token: str, source: str) -> tuple[int, dict[str, object]]:
    """mint-token as a client at this loopback address calls it."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", index.port, timeout=60, source_address=(source, 0)
    )
    try:
        connection.request("POST", MINT, json.dumps({"token": id_token}))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_thief_elsewhere_is_not_taken_for_a_retry(
    make_scene: Callable[[ExampleIndex], Scene], plain_index: ExampleIndex
) -> None:
    scene = make_scene(plain_index)
    scene.project("stolen-from")
    id_token = scene.github_job("stolen-from").id_token(AUDIENCE)
    status, first = mint(plain_index, id_token, "127.0.0.1")
    assert status == 200
    status, stolen = mint(plain_index, id_token, "127.0.0.2")
    assert status == 422 and "token" not in stolen
    assert "used before" in str(stolen["detail"])
    status, again = mint(plain_index, id_token, "127.0.0.1")
    assert (status, again["token"]) == (200, first["token"])
