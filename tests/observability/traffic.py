"""What the web tier of an index calls: jobs that publish, users, scanners, and those who are refused."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from kit.identities import GitLabJob
from kit.mintage import AUDIENCE

from fleet import CALLERS, INDEX, Installation, Provider
from mintage import (
    SINGLE_USE, Access, Client, Error, Filenames, GitHub, GitLab, Project, Publisher, Requester, aio
)

PROJECT = Project("7", "sampleproject")
OTHER = Project("8", "other")
NOBODY = "203.0.113.9"
DEADLINE = 2.0


class Traffic:
    """Each method is one story of calls, and may be refused; `run` repeats them at a pace."""

    def __init__(self, installation: Installation) -> None:
        self._github, self._gitlab = installation.github, installation.gitlab

        def client(token: str) -> Client:
            # Those that aren't ready are asked too: what works without the store goes on.
            targets = installation.plain
            return Client(*targets, index=INDEX, caller_token=token, timeout=DEADLINE, health_checks=False)

        self._web, self._scanner = client(CALLERS["web"]), client(CALLERS["scanner"])
        self._stranger = client("a-wrong-token")
        self._targets = installation.plain
        self._flooding = threading.Lock()

    def close(self) -> None:
        for client in (self._web, self._scanner, self._stranger):
            client.close()

    def publish(self) -> None:
        """A job on GitHub publishes, and its tool ends the token."""
        token = self._mint(self._github.id_token(AUDIENCE), self._publisher("11"))
        narrow = self._web.attenuate(token, [Filenames(("sampleproject-1.0.tar.gz",))]).token
        self._web.verify(narrow, upload(PROJECT), requester=Requester("198.51.100.7"))
        self._web.revoke(token)

    def publish_once(self) -> None:
        """The same with a token that is good for one upload, sent twice."""
        token = self._mint(self._github.id_token(AUDIENCE), self._publisher("11"), SINGLE_USE)
        self._web.verify(token, upload(PROJECT))
        self._web.verify(token, upload(PROJECT))

    def publish_from_gitlab(self) -> None:
        job = GitLabJob(self._gitlab, "group/sampleproject", AUDIENCE)
        publisher = Publisher("21", self._gitlab.url, GitLab("group", "sampleproject", ".gitlab-ci.yml"), (OTHER,))
        token = self._mint(job.id_token(), publisher)
        self._web.verify(token, Access(OTHER, ("21",)))

    def user(self) -> None:
        self._web.mint_for_user("42", requester=Requester("198.51.100.8"))

    def upload(self, token: str) -> None:
        self._web.verify(token, upload(PROJECT))

    def wrong_project(self) -> None:
        """Denied: the token is for something else."""
        token = self._mint(self._github.id_token(AUDIENCE), self._publisher("11"))
        self._web.verify(token, Access(OTHER, ("11",)), requester=Requester(NOBODY))

    def misconfigured(self) -> None:
        """A publisher that is registered with another workflow's name."""
        self._mint(self._github.id_token(AUDIENCE), self._publisher("12", workflow="publish.yml"))

    def wrong_audience(self) -> None:
        self._mint(self._github.id_token("testpypi"), self._publisher("11"))

    def forged(self) -> None:
        signed, _ = self._github.id_token(AUDIENCE).rsplit(".", 1)
        _, signature = self._github.id_token(AUDIENCE).rsplit(".", 1)
        self._mint(f"{signed}.{signature}", self._publisher("11"))

    def replayed(self) -> None:
        """An ID token that comes twice."""
        id_token = self._github.id_token(AUDIENCE)
        self._mint(id_token, self._publisher("11"))
        self._mint(id_token, self._publisher("11"))

    def chatty(self) -> None:
        """One publisher's CI that mints far too often."""
        self._mint(self._github.id_token(AUDIENCE, "octo/chatty"), self._publisher("13", "chatty"))

    def leaked(self) -> None:
        """A scanner found a token."""
        token = self._web.mint_for_user("43").token
        self._scanner.revoke(token, cause="found in a repository")
        self._web.verify(token, upload(PROJECT))

    def unknown_caller(self) -> None:
        self._stranger.mint_for_user("42")

    def long_lived(self) -> str:
        return self._web.mint_for_user("42").token

    def flood(self, token: str, calls: int) -> None:
        """So many calls at once, each of which asks the store; one flood at a time."""
        if self._flooding.acquire(blocking=False):
            try:
                asyncio.run(self._flood(token, calls))
            finally:
                self._flooding.release()

    async def _flood(self, token: str, calls: int) -> None:
        async with aio.Client(
            *self._targets, index=INDEX, caller_token=CALLERS["web"], timeout=DEADLINE, health_checks=False
        ) as client:
            uploads = (client.verify(token, upload(PROJECT)) for _ in range(calls))
            await asyncio.gather(*uploads, return_exceptions=True)

    def _publisher(self, id: str, repository: str = "sampleproject", workflow: str = "release.yml") -> Publisher:
        return Publisher(id, self._github.url, GitHub("octo", "1", repository, workflow), (PROJECT,))

    def _mint(self, id_token: str, publisher: Publisher, *features: str) -> str:
        requester = Requester("198.51.100.7", "uv/0.13")
        return self._web.mint_for_publisher(id_token, [publisher], features=features, requester=requester).token


def upload(project: Project) -> Access:
    return Access(project, ("11",), "1.0", f"{project.name}-1.0.tar.gz", b"s" * 32)


def tried(call: Callable[[], object]) -> bool:
    """Whether it got what it wanted."""
    try:
        call()
    except Error:
        return False
    return True


class Pace:
    """Repeats calls in the background, each so many times a second, until it is left."""

    def __init__(self, **per_second: tuple[float, Callable[[], object]]) -> None:
        self._stories = dict(per_second)
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(16)
        self._ticker = threading.Thread(target=self._tick)

    def set(self, name: str, per_second: float, call: Callable[[], object]) -> None:
        self._stories = self._stories | {name: (per_second, call)}

    def end(self, name: str) -> None:
        self._stories = {other: story for other, story in self._stories.items() if other != name}

    def __enter__(self) -> Pace:
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._ticker.join()
        self._pool.shutdown(cancel_futures=True)

    def _tick(self) -> None:
        due: dict[str, float] = {}
        while not self._over.wait(0.02):
            now = time.monotonic()
            for name, (per_second, call) in self._stories.items():
                at = due.setdefault(name, now)
                if at <= now:
                    # Late ones are left out: the pace is no promise.
                    due[name] = max(at + 1 / per_second, now - 0.1)
                    self._pool.submit(tried, call)
