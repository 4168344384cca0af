"""The CI's ID token, by PyPI's package `id`: GitHub, GitLab, Google, Buildkite, CircleCI."""

from __future__ import annotations

from ..tokens._show import harmless
from ._failed import Failed

__all__ = ["identify"]


def identify(audience: str) -> str:
    """An ID token of this job for this audience. Raises `Failed`."""
    try:
        import id as ci
    except ImportError:
        raise Failed(
            "the package that gets ID tokens is missing: python -m pip install 'mintage[exchange]'"
        ) from None
    try:
        id_token = ci.detect_credential(audience)
    except ci.GitHubOidcPermissionCredentialError:
        raise Failed(
            "GitHub gives this job no ID token: it needs `permissions: id-token: write`"
        ) from None
    except ci.IdentityError as error:
        raise Failed(f"the CI gave no ID token: {harmless(str(error), 300)}") from None
    except Exception as error:
        # `id` lets what its HTTP library raises through.
        raise Failed(f"the CI gave no ID token ({type(error).__name__})") from None
    if id_token is None:
        raise Failed(
            "this is no CI job that can prove who it is (GitHub Actions, GitLab CI, Google "
            "Cloud, Buildkite and CircleCI are known); elsewhere, use an upload token of your own"
        )
    return id_token
