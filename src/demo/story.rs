//! The story, step by step. Every step says what should happen, makes it happen,
//! and fails the demo where something else did.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anstream::ColorChoice;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::paint;

use super::{
    DemoFailed, failed,
    http::{self, Answer, RUNNER, Request},
    index::Index,
    issuer::{Issuer, Job},
    service::{Service, this_binary},
    stage::{Stage, shortened},
};

/// Where somebody is who read the job's log.
const THIEF: &str = "203.0.113.66";

const RELEASE: Job =
    Job { repository: "octo/sample-package", workflow: "release.yml", environment: "release" };

const MISTYPED: Job = Job { repository: "octo/other-package", ..RELEASE };

/// The file that the job has built, and another one.
const FILE: &str = "sample_package-1.0.tar.gz";
const OTHER_FILE: &str = "sample_package-1.1.tar.gz";

/// Tells all of it.
pub(super) async fn tell(
    issuer: &Issuer,
    service: &Service,
    index: &Index,
) -> Result<(), DemoFailed> {
    let stage = Stage::default();
    let story = Story { stage: &stage, issuer, service, index };
    let told = story.steps().await;
    told.map_err(|DemoFailed(sentence)| match stage.steps() {
        0 => DemoFailed(sentence),
        step => DemoFailed(format!("step {step} did not go as told: {sentence}")),
    })
}

struct Story<'a> {
    stage: &'a Stage,
    issuer: &'a Issuer,
    service: &'a Service,
    index: &'a Index,
}

impl Story<'_> {
    async fn steps(&self) -> Result<(), DemoFailed> {
        self.introduction()?;
        let audience = self.discovery().await?;
        let id_token = self.id_token(&audience)?;
        let token = self.mint(&id_token).await?;
        let narrow = self.narrow(&token)?;
        self.allowed_upload(&narrow).await?;
        self.denied_upload(&narrow).await?;
        self.reused_id_token(&id_token).await?;
        self.single_use(&audience).await?;
        self.misconfigured(&audience).await?;
        self.stage.end();
        Ok(())
    }

    fn introduction(&self) -> Result<(), DemoFailed> {
        let dist = self.service.folder().join("dist");
        fs::create_dir(&dist).map_err(failed("making the job's files"))?;
        for (name, content) in [(FILE, "what the tests saw\n"), (OTHER_FILE, "something else\n")] {
            fs::write(dist.join(name), content).map_err(failed("making the job's files"))?;
        }
        self.stage.title("Mintage: a CI job publishes a package without a stored password");
        self.stage.facts(&[
            ("CI provider", format!("{}, an OIDC issuer with a fresh RSA key", self.issuer.url())),
            ("index", format!("http://{}, speaks HTTP to the job", self.index.host())),
            ("mintage", format!("{}, speaks gRPC to the index", self.service.address())),
        ]);
        Ok(())
    }

    async fn discovery(&self) -> Result<String, DemoFailed> {
        self.stage.step("The job asks the index how to publish");
        let discovered = self.get("/.well-known/pytp?discover=%2Flegacy%2F").await?;
        expect(discovered.status == 200, "the index offers no trusted publishing")?;
        let answer = self.get("/_/oidc/audience").await?;
        let audience = text(&answer.body, "audience")?;
        self.stage.good(&format!(
            "The index does trusted publishing (PEP 807), for ID tokens whose audience is \
             \"{audience}\"."
        ));
        Ok(audience)
    }

    fn id_token(&self, audience: &str) -> Result<String, DemoFailed> {
        self.stage.step("The job asks its CI provider for an ID token");
        let (claims, token) = self.issuer.id_token(RELEASE, audience)?;
        let shown = ["iss", "aud", "jti", "repository", "job_workflow_ref", "environment"];
        let facts: Vec<(&str, String)> = shown
            .into_iter()
            .map(|name| Ok((name, text(&claims, name)?)))
            .collect::<Result<_, DemoFailed>>()?;
        self.stage.facts(&facts);
        self.stage.good(&format!("The provider's signature says so: {}.", shortened(&token)));
        Ok(token)
    }

    async fn mint(&self, id_token: &str) -> Result<String, DemoFailed> {
        self.stage.step("ID token → upload token");
        self.stage.say(
            "The index hands the ID token to Mintage, with the publishers that it has registered. \
             Mintage checks the signature, holds the claims against each publisher, redeems the ID \
             token, and mints.",
        );
        let answer = self.mint_token(RUNNER, id_token, &[]).await?;
        expect(answer.status == 200, "the ID token was refused")?;
        let token = text(&answer.body, "token")?;
        self.stage.gap();
        self.stage.command("mintage token inspect", &inspect(&token)?);
        self.stage.good("The token is for one publisher, one project and a quarter of an hour.");

        self.stage.say("\nSuppose that the answer was lost on the way. The same job asks again:");
        let again = self.mint_token(RUNNER, id_token, &[]).await?;
        expect(again.body == answer.body, "the retry got something else")?;
        self.stage.good("A retry gets the very same token, not a second one.");
        Ok(token)
    }

    fn narrow(&self, token: &str) -> Result<String, DemoFailed> {
        self.stage.step("The job narrows its token to the one file that it built");
        self.stage
            .say("Anybody can narrow a token, offline and without a key. Nobody can widen it.");
        let narrow = attenuate(self.service.folder(), token)?;
        self.stage
            .command(&format!("mintage token attenuate --file dist/{FILE}"), &shortened(&narrow));
        self.stage.gap();
        self.stage.command("mintage token inspect", &inspect(&narrow)?);
        expect(narrow != token, "the token is as wide as before")?;
        self.stage
            .good("From here on the token is good for this file, byte for byte, and no other.");
        Ok(narrow)
    }

    async fn allowed_upload(&self, token: &str) -> Result<(), DemoFailed> {
        self.stage.step("The job uploads the file");
        let answer = self.upload(token, "1.0", FILE).await?;
        expect(answer.status == 200, "the upload was denied")?;
        self.stage
            .good("Allowed: signature, time, publisher, project, version, name and digest hold.");
        Ok(())
    }

    async fn denied_upload(&self, token: &str) -> Result<(), DemoFailed> {
        self.stage.step("Somebody swaps the file");
        let answer = self.upload(token, "1.1", OTHER_FILE).await?;
        expect(answer.status == 403, "the upload was not denied")?;
        for code in ["CAVEAT_VERSION", "CAVEAT_FILENAME", "CAVEAT_DIGEST"] {
            expect(codes(&answer).contains(&code), &format!("{code} is not among the reasons"))?;
        }
        self.stage.good("Denied, with every reason at once and not only the first.");
        Ok(())
    }

    async fn reused_id_token(&self, id_token: &str) -> Result<(), DemoFailed> {
        self.stage.step("Somebody else found the ID token in a log");
        let answer = self.mint_token(THIEF, id_token, &[]).await?;
        expect(codes(&answer) == ["invalid-reuse-token"], "it was not refused as reused")?;
        self.stage.good("Refused: an ID token is redeemed once.");
        Ok(())
    }

    async fn single_use(&self, audience: &str) -> Result<(), DemoFailed> {
        self.stage.step("A token for a single upload");
        let (_, id_token) = self.issuer.id_token(RELEASE, audience)?;
        let answer = self.mint_token(RUNNER, &id_token, &["single-use-token"]).await?;
        expect(answer.status == 200, "the ID token was refused")?;
        let token = text(&answer.body, "token")?;
        let first = self.upload(&token, "1.0", FILE).await?;
        expect(first.status == 200, "the first upload was denied")?;
        let second = self.upload(&token, "1.1", OTHER_FILE).await?;
        expect(
            codes(&second) == ["CAVEAT_USES_SPENT"],
            "the second upload was not denied as spent",
        )?;
        self.stage.good("Allowed once, denied the second time.");
        Ok(())
    }

    async fn misconfigured(&self, audience: &str) -> Result<(), DemoFailed> {
        self.stage.step("A publisher that was registered with a typing mistake");
        let (_, id_token) = self.issuer.id_token(MISTYPED, audience)?;
        let answer = self.mint_token(RUNNER, &id_token, &[]).await?;
        expect(codes(&answer) == ["invalid-publisher"], "it was not refused for its publisher")?;
        self.stage.say("\nWhat the index can show to the maintainer, from Verify:");
        let denials = self.index.explain(&id_token).await?;
        let mismatch = denials
            .iter()
            .filter_map(|denial| denial.mismatch.as_ref())
            .find(|mismatch| mismatch.publisher_id == "43")
            .ok_or_else(|| DemoFailed::new("Verify did not explain the mismatch"))?;
        self.stage.facts(&[
            ("publisher", mismatch.publisher_id.clone()),
            ("claim", mismatch.claim.clone()),
            ("expected", mismatch.expected.clone()),
            ("found", mismatch.found.clone()),
        ]);
        expect(mismatch.claim == "job_workflow_ref", "another claim was found to differ")?;
        self.stage.good("The first claim that differs is named, and nothing was redeemed.");

        self.stage.say("\nThe maintainer corrects the file name. The job asks again:");
        self.index.correct();
        let answer = self.mint_token(RUNNER, &id_token, &[]).await?;
        expect(answer.status == 200, "the ID token was refused")?;
        self.stage.good("The same ID token is as good as before: a refusal redeems nothing.");
        Ok(())
    }

    async fn get(&self, target: &str) -> Result<Answer, DemoFailed> {
        let request =
            Request { method: "GET", target, from: RUNNER, authorization: None, body: b"" };
        self.send(&request, "").await
    }

    async fn mint_token(
        &self,
        from: &'static str,
        id_token: &str,
        features: &[&str],
    ) -> Result<Answer, DemoFailed> {
        let asking = |token: &str| match features {
            [] => json!({"token": token}).to_string(),
            _ => json!({"token": token, "features": features}).to_string(),
        };
        let (body, shown) = (asking(id_token), asking(&shortened(id_token)));
        let target = "/_/oidc/mint-token";
        let request =
            Request { method: "POST", target, from, authorization: None, body: body.as_bytes() };
        self.send(&request, &shown).await
    }

    async fn upload(&self, token: &str, version: &str, file: &str) -> Result<Answer, DemoFailed> {
        let content = fs::read(self.service.folder().join("dist").join(file))
            .map_err(failed("reading the job's files"))?;
        let authorization = format!("Basic {}", STANDARD.encode(format!("__token__:{token}")));
        let target = format!("/legacy/?name=sample-package&version={version}&filename={file}");
        let request = Request {
            method: "POST",
            target: &target,
            from: RUNNER,
            authorization: Some(&authorization),
            body: &content,
        };
        self.send(&request, "").await
    }

    async fn send(&self, request: &Request<'_>, shown: &str) -> Result<Answer, DemoFailed> {
        let answer = http::send(self.index.host(), request).await?;
        self.stage.exchange(request, shown, &answer);
        Ok(answer)
    }
}

fn expect(holds: bool, otherwise: &str) -> Result<(), DemoFailed> {
    if holds { Ok(()) } else { Err(DemoFailed::new(otherwise)) }
}

fn text(body: &Value, name: &str) -> Result<String, DemoFailed> {
    let value = body.get(name).and_then(Value::as_str);
    value.map(str::to_owned).ok_or_else(|| DemoFailed::new(format!("there is no \"{name}\"")))
}

/// The codes of a problem's errors.
fn codes(answer: &Answer) -> Vec<&str> {
    let errors = answer.body.get("errors").and_then(Value::as_array);
    errors.into_iter().flatten().filter_map(|error| error.get("code")?.as_str()).collect()
}

/// `mintage token inspect`, as the real command shows it.
fn inspect(token: &str) -> Result<String, DemoFailed> {
    command(Path::new("."), &["token", "inspect"], token)
}

/// `mintage token attenuate` for the file.
fn attenuate(folder: &Path, token: &str) -> Result<String, DemoFailed> {
    let file = format!("dist/{FILE}");
    let output = command(folder, &["token", "attenuate", "--file", &file], token)?;
    Ok(output.trim().to_owned())
}

/// This very binary, with a token on its standard input.
fn command(folder: &Path, arguments: &[&str], token: &str) -> Result<String, DemoFailed> {
    let doing = failed("running this program");
    // What it prints is shown a little further in.
    let columns = paint::width().saturating_sub(3).to_string();
    let colours = anstream::AutoStream::choice(&std::io::stdout()) != ColorChoice::Never;
    let mut child = Command::new(this_binary()?)
        .args(arguments)
        .current_dir(folder)
        .env("COLUMNS", columns)
        .env("CLICOLOR_FORCE", if colours { "1" } else { "0" })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(&doing)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(token.as_bytes()).map_err(&doing)?;
    }
    let output = child.wait_with_output().map_err(&doing)?;
    let cause = String::from_utf8_lossy(&output.stderr);
    let failed = format!("`mintage {}` failed: {}", arguments.join(" "), cause.trim());
    expect(output.status.success(), &failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
