//! The claims of a GitHub job, all 31 that the provider sends.

use serde_json::{Value, json};

/// Of the job with this `jti`, from this issuer for this audience, issued at this
/// second and good for an hour.
pub(super) fn github_claims(issuer: &str, audience: &str, now: i64, jti: &str) -> Value {
    json!({
        "jti": jti,
        "sub": "repo:octo-org/sample-project:environment:release",
        "aud": audience,
        "iss": issuer,
        "iat": now,
        "nbf": now - 300,
        "exp": now + 3_600,
        "ref": "refs/tags/v1.24.0",
        "sha": "9bb1db26e1c04a6d8ccf6e1f3f0aa8e6f8c2d9a4",
        "repository": "octo-org/sample-project",
        "repository_owner": "octo-org",
        "repository_owner_id": "1234567",
        "repository_id": "87654321",
        "repository_visibility": "public",
        "run_id": "10123456789",
        "run_number": "412",
        "run_attempt": "1",
        "actor": "octocat",
        "actor_id": "583231",
        "workflow": "Release",
        "workflow_ref": "octo-org/sample-project/.github/workflows/release.yml@refs/tags/v1.24.0",
        "workflow_sha": "9bb1db26e1c04a6d8ccf6e1f3f0aa8e6f8c2d9a4",
        "head_ref": "",
        "base_ref": "",
        "event_name": "push",
        "ref_type": "tag",
        "ref_protected": "false",
        "environment": "release",
        "job_workflow_ref":
            "octo-org/sample-project/.github/workflows/release.yml@refs/tags/v1.24.0",
        "job_workflow_sha": "9bb1db26e1c04a6d8ccf6e1f3f0aa8e6f8c2d9a4",
        "runner_environment": "github-hosted",
        "enterprise": "",
    })
}
