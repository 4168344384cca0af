"""Everything a test needs to let a CI job publish to an example index, in one hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mintage import GitHub, GitLab, Project, ProviderIdentity

from .identities import GitHubJob, GitLabJob, Issuer
from .index import ExampleIndex
from .tools import Run, Tools
from .transcripts import transcript
from .uploaders import Pdm, Twine, Uploader, Uv

ALICE = "alice"


@dataclass
class Scene:
    """One test's tools, jobs and files, and the index that they meet."""

    index: ExampleIndex
    tools: Tools
    github: Issuer
    gitlab: Issuer
    start_github_job: Callable[..., GitHubJob]
    start_gitlab_job: Callable[..., GitLabJob]
    dist: Callable[..., Path]

    @property
    def uploaders(self) -> list[Uploader]:
        return [Uv(self.tools), Twine(self.tools), Pdm(self.tools)]

    def project(self, name: str, *, environment: str = "") -> Project:
        """A project of Alice's, which `NAME/NAME` on GitHub publishes."""
        identity = GitHub(name, "1", name, "release.yml", environment)
        return self._project(name, self.github.url, identity)

    def gitlab_project(self, name: str) -> Project:
        """A project of Alice's, which `group/NAME` on GitLab publishes."""
        identity = GitLab("group", name, ".gitlab-ci.yml")
        return self._project(name, self.gitlab.url, identity)

    def _project(self, name: str, issuer: str, identity: ProviderIdentity) -> Project:
        project = self.index.create_project(name, ALICE)
        self.index.database.register(name, ALICE, issuer, identity)
        return project

    def github_job(self, name: str, **claims: str) -> GitHubJob:
        return self.start_github_job(f"{name}/{name}", **claims)

    def gitlab_job(self, name: str, **claims: str) -> GitLabJob:
        return self.start_gitlab_job(f"group/{name}", **claims)

    def has(self, folder: Path) -> bool:
        """Whether the index has exactly these bytes under these names."""
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return files.items() <= self.index.uploads().items()

    def transcript(self, runs: list[Run]) -> str:
        return "\n".join(transcript(run, self.tools.home) for run in runs)
