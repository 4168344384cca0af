"""What can go wrong, as uv, twine and pdm show it to whoever uploads.

Each test holds what the tools printed against a transcript in `transcripts/`, and looks into the
index: nothing was uploaded.

pdm prints nothing of why an ID token was refused, whatever the index answers; who uses it gets
the sentence from `python -m mintage.exchange`, whose token pdm takes as its password.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from kit import transcripts
from kit.certificates import Certificate
from kit.index import ExampleIndex
from kit.mintage import Mintage, Redis
from kit.processes import wait_until
from kit.scene import ALICE, Scene
from kit.tools import Run
from kit.uploaders import Uploader
from mintage import SINGLE_USE, Client, ProjectNames

Attempt = Callable[[Uploader], list[Run]]

PDM_SAYS = "Failed to get PyPI token via OIDC"


class Refusals:
    """Lets each tool try the same, and keeps what they print."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._transcripts: list[str] = []

    def to_publish(self, attempt: Attempt, sentence: str) -> None:
        """Each tool fails with the sentence, but for pdm, with its ID token."""
        self._each(attempt, {"uv": sentence, "twine": sentence, "pdm": PDM_SAYS})

    def to_upload(self, attempt: Attempt, sentence: str) -> None:
        """Each tool fails with the sentence, with its upload token."""
        self._each(attempt, {"uv": sentence, "twine": sentence, "pdm": sentence})

    def _each(self, attempt: Attempt, sentences: dict[str, str]) -> None:
        before = self.scene.index.uploads()
        uploaders = self.scene.uploaders
        # All at once, since most of the time is spent in waiting between their retries.
        with ThreadPoolExecutor(len(uploaders)) as threads:
            attempts = list(threads.map(attempt, uploaders))
        assert self.scene.index.uploads() == before
        for uploader, runs in zip(uploaders, attempts, strict=True):
            text = self.scene.transcript(runs)
            assert failed(runs), text
            assert sentences[uploader.name] in as_one_line(text)
            self._transcripts.append(text)

    def hold(self, name: str) -> None:
        transcripts.hold(name, *self._transcripts)


def failed(runs: list[Run]) -> bool:
    return any(run.code != 0 for run in runs)


def as_one_line(text: str) -> str:
    """Without the tools' line breaks, and without the escapes of JSON."""
    return " ".join(text.replace('\\"', '"').split())


@pytest.fixture
def refusals(scene: Scene) -> Refusals:
    return Refusals(scene)


def a_users_token(client: Client, project: str, *features: str) -> str:
    return client.mint_for_user(
        ALICE,
        caveats=[ProjectNames((project,))],
        features=features,
        lifetime=timedelta(minutes=15),
    ).token


def test_a_token_for_another_project_uploads_nothing(refusals: Refusals) -> None:
    scene = refusals.scene
    scene.project("mine")
    scene.project("another")
    job = scene.github_job("mine").environment

    def attempt(uploader: Uploader) -> list[Run]:
        return uploader.publish(scene.index.upload_url, scene.dist("another"), job)

    refusals.to_upload(attempt, 'registered to the project "another"')
    refusals.hold("wrong_project")


def test_a_job_of_another_environment_gets_no_token(refusals: Refusals) -> None:
    scene = refusals.scene
    scene.project("careful", environment="release")

    def attempt(uploader: Uploader) -> list[Run]:
        job = scene.github_job("careful", environment="staging").environment
        return uploader.publish(scene.index.upload_url, scene.dist("careful"), job)

    sentence = 'the claim "environment" must be "release", and the ID token has "staging"'
    refusals.to_publish(attempt, sentence)
    refusals.hold("wrong_environment")


def test_an_id_token_is_good_for_one_upload_token(
    start_mintage: Callable[..., Mintage],
    start_index: Callable[..., ExampleIndex],
    make_scene: Callable[[ExampleIndex], Scene],
    certificate: Certificate,
) -> None:
    """Not even a retry is taken for one: the window in which it would be is closed."""
    service = start_mintage(settings='retry_window = "0s"')
    scene = make_scene(start_index(service.address, certificate=certificate))
    refusals = Refusals(scene)
    scene.project("twice")
    job = scene.github_job("twice")
    job.replay = True
    files = scene.dist("twice")
    [first] = scene.uploaders[0].publish(scene.index.upload_url, files, job.environment)
    assert first.code == 0 and scene.has(files)

    def attempt(uploader: Uploader) -> list[Run]:
        again = scene.dist("twice", "2.0")
        return uploader.publish(scene.index.upload_url, again, job.environment)

    refusals.to_publish(attempt, "ID token")
    refusals.hold("reused_id_token")


def test_a_single_use_token_uploads_one_file_and_no_second_one(
    scene: Scene, mintage_client: Client
) -> None:
    texts = []
    for uploader in scene.uploaders:
        name = f"once-by-{uploader.name}"
        scene.project(name)
        files = scene.dist(name)
        token = a_users_token(mintage_client, name, SINGLE_USE)
        before = scene.index.uploads()
        runs = uploader.upload(scene.index.upload_url, files, token)
        assert failed(runs)
        stored = scene.index.uploads().keys() - before.keys()
        assert [Path(filename).suffix for filename in stored] == [".whl"]
        texts.append(scene.transcript(runs))
        assert "the token has no use left" in texts[-1].lower()
    transcripts.hold("single_use_token_twice", *texts)


def test_a_token_for_one_file_uploads_no_other_bytes_of_that_name(
    refusals: Refusals, mintage: Mintage
) -> None:
    scene = refusals.scene
    scene.project("exact")
    genuine = scene.dist("exact", both=False)
    [path] = genuine.iterdir()
    made = subprocess.run(
        [*scene.index.command, "token", ALICE, "--only", path],
        env=scene.index.environment, check=True, capture_output=True, text=True,
    )
    token = made.stdout.strip()

    def attempt(uploader: Uploader) -> list[Run]:
        forged = scene.dist("exact", both=False, text="malware")
        return uploader.upload(scene.index.upload_url, forged, token)

    refusals.to_upload(attempt, "SHA-256")
    refusals.hold("digest_differs")
    [run] = scene.uploaders[0].upload(scene.index.upload_url, genuine, token)
    assert run.code == 0 and scene.has(genuine)


def test_a_revoked_token_uploads_nothing(
    refusals: Refusals, mintage_client: Client
) -> None:
    scene = refusals.scene
    scene.project("leaked")
    token = a_users_token(mintage_client, "leaked")
    mintage_client.revoke(token, cause="seen in a log")

    def attempt(uploader: Uploader) -> list[Run]:
        return uploader.upload(scene.index.upload_url, scene.dist("leaked"), token)

    refusals.to_upload(attempt, "revoked")
    refusals.hold("revoked_token")


def test_too_many_jobs_are_told_to_come_back_later(
    start_mintage: Callable[..., Mintage],
    start_index: Callable[..., ExampleIndex],
    make_scene: Callable[[ExampleIndex], Scene],
    certificate: Certificate,
) -> None:
    limits = '[limits]\nmint_per_client = { burst = 1, count = 1, period = "1h" }'
    service = start_mintage(settings=limits)
    scene = make_scene(start_index(service.address, certificate=certificate))
    refusals = Refusals(scene)
    scene.project("eager")

    def attempt(uploader: Uploader) -> list[Run]:
        job = scene.github_job("eager").environment
        return uploader.publish(scene.index.upload_url, scene.dist("eager", "2.0"), job)

    job = scene.github_job("eager").environment
    [first] = scene.uploaders[0].publish(scene.index.upload_url, scene.dist("eager"), job)
    assert first.code == 0
    refusals.to_publish(attempt, "Too many requests; try again")
    refusals.hold("rate_limit")


def test_without_mintage_nothing_is_uploaded(
    start_mintage: Callable[..., Mintage],
    start_index: Callable[..., ExampleIndex],
    make_scene: Callable[[ExampleIndex], Scene],
    certificate: Certificate,
) -> None:
    service = start_mintage()
    scene = make_scene(start_index(service.address, certificate=certificate))
    refusals = Refusals(scene)
    scene.project("patient")
    with Client(service.address) as client:
        token = a_users_token(client, "patient")
    service.stop()

    def publish(uploader: Uploader) -> list[Run]:
        job = scene.github_job("patient").environment
        return uploader.publish(scene.index.upload_url, scene.dist("patient"), job)

    def upload(uploader: Uploader) -> list[Run]:
        return uploader.upload(scene.index.upload_url, scene.dist("patient"), token)

    refusals.to_publish(publish, "The token service can't be reached at present.")
    refusals.to_upload(upload, "The token service can't be reached at present.")
    refusals.hold("mintage_down")
    service.start()
    files = scene.dist("patient")

    def uploads() -> bool:
        return not failed(scene.uploaders[0].upload(scene.index.upload_url, files, token))

    wait_until(uploads, "the index finds Mintage again")
    assert scene.has(files)


def test_without_redis_nothing_is_uploaded_that_would_have_to_be_marked(
    redis: Redis,
    start_mintage: Callable[..., Mintage],
    start_index: Callable[..., ExampleIndex],
    make_scene: Callable[[ExampleIndex], Scene],
    certificate: Certificate,
) -> None:
    service = start_mintage(store=redis.store)
    scene = make_scene(start_index(service.address, certificate=certificate))
    refusals = Refusals(scene)
    scene.project("forgetful")
    with Client(service.address) as client:
        token = a_users_token(client, "forgetful", SINGLE_USE)
        unmarked = a_users_token(client, "forgetful")
    before = scene.dist("forgetful", "0.9")
    job = scene.github_job("forgetful").environment
    assert not failed(scene.uploaders[0].publish(scene.index.upload_url, before, job))
    redis.stop()

    def publish(uploader: Uploader) -> list[Run]:
        job = scene.github_job("forgetful").environment
        return uploader.publish(scene.index.upload_url, scene.dist("forgetful"), job)

    def upload(uploader: Uploader) -> list[Run]:
        return uploader.upload(scene.index.upload_url, scene.dist("forgetful"), token)

    sentence = "The service cannot reach its store at present; try again a little later."
    refusals.to_publish(publish, sentence)
    refusals.to_upload(upload, sentence)
    refusals.hold("redis_down")
    files = scene.dist("forgetful")
    assert not failed(scene.uploaders[0].upload(scene.index.upload_url, files, unmarked))
    assert scene.has(files)


def test_an_index_that_is_broken_itself_answers_json_and_uploads_nothing(
    mintage: Mintage,
    mintage_client: Client,
    start_index: Callable[..., ExampleIndex],
    make_scene: Callable[[ExampleIndex], Scene],
    certificate: Certificate,
) -> None:
    scene = make_scene(start_index(mintage.address, certificate=certificate))
    refusals = Refusals(scene)
    scene.project("broken")
    token = a_users_token(mintage_client, "broken")
    with scene.index.broken():

        def publish(uploader: Uploader) -> list[Run]:
            job = scene.github_job("broken").environment
            return uploader.publish(scene.index.upload_url, scene.dist("broken"), job)

        def upload(uploader: Uploader) -> list[Run]:
            return uploader.upload(scene.index.upload_url, scene.dist("broken"), token)

        refusals.to_publish(publish, "its operators can see it in their log")
        refusals.to_upload(upload, "its operators can see it in their log")
    refusals.hold("index_broken")
