//! The real service: this binary as a child process, in a folder of its own that
//! goes with it.

use std::{
    collections::VecDeque,
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::world;

use super::{DemoFailed, failed, issuer::Issuer};

/// How long the service may take to start, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lines of the service's log that are kept to explain a failure.
const KEPT_LINES: usize = 12;

type Log = Arc<Mutex<VecDeque<String>>>;

/// The running service. Dropped, it ends, and its folder is removed.
pub(super) struct Service {
    child: Child,
    folder: TempDir,
    address: String,
    caller_token: String,
    log: Log,
}

impl Service {
    /// Makes a key and a configuration, starts `mintage serve` with them, and
    /// waits until it listens.
    pub(super) async fn start(issuer: &Issuer) -> Result<Self, DemoFailed> {
        let folder = tempfile::Builder::new()
            .prefix("mintage-demo-")
            .tempdir()
            .map_err(failed("making a folder"))?;
        let key = generate_key(&folder.path().join("keys"))?;
        let caller_token = random_token()?;
        let file = folder.path().join("mintage.toml");
        fs::write(&file, configuration(&key, &caller_token, issuer.url()))
            .map_err(failed("writing the configuration"))?;

        let mut child = spawn(&file)?;
        let log = Log::default();
        let listening = child.stderr.take().map(|stderr| follow(stderr, log.clone()));
        let mut service = Self { child, folder, address: String::new(), caller_token, log };
        service.address = match listening {
            Some(line) => service.wait(line).await?,
            None => return Err(DemoFailed::new("the service's log can't be read")),
        };
        Ok(service)
    }

    /// Where it serves gRPC.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What the index proves itself with.
    pub(super) fn caller_token(&self) -> &str {
        &self.caller_token
    }

    /// A folder for the demo's own files.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The end of its log.
    pub(super) fn last_lines(&self) -> String {
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    async fn wait(&self, listening: oneshot::Receiver<String>) -> Result<String, DemoFailed> {
        let sentence = match tokio::time::timeout(PATIENCE, listening).await {
            Ok(Ok(address)) => return Ok(address),
            Ok(Err(_)) => "the service ended instead of listening",
            Err(_) => "the service did not start in time",
        };
        Err(DemoFailed::new(format!("{sentence}\n{}", self.last_lines())))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing more to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This very binary.
pub(super) fn this_binary() -> Result<PathBuf, DemoFailed> {
    env::current_exe().map_err(failed("finding this program's file"))
}

fn generate_key(directory: &Path) -> Result<String, DemoFailed> {
    let output = Command::new(this_binary()?)
        .args(["keys", "generate", "--directory"])
        .arg(directory)
        .output()
        .map_err(failed("making a master key"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        let cause = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(DemoFailed::new(format!("no master key was made: {cause}")))
    }
}

fn random_token() -> Result<String, DemoFailed> {
    let bytes: [u8; 32] =
        world::random().ok_or_else(|| DemoFailed::new("the system has no random bytes to give"))?;
    Ok(hex(&bytes))
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn configuration(key: &str, caller_token: &str, issuer: &str) -> String {
    let token_sha256 = hex(&Sha256::digest(caller_token));
    format!(
        r#"listen = "127.0.0.1:0"

[keyring]
directory = "keys"
current = "{key}"

[store]
kind = "memory"

[log]
format = "json"

[[callers]]
name = "web"
token_sha256 = "{token_sha256}"
may = ["mint-publisher", "verify"]

[[issuers]]
url = "{issuer}"
provider = "github"

[indexes.demo]
audience = "demo"
location = "index.example"
issuers = ["{issuer}"]
extended_caveats = true
"#
    )
}

fn spawn(file: &Path) -> Result<Child, DemoFailed> {
    let mut command = Command::new(this_binary()?);
    command.args(["serve", "--config"]).arg(file);
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"MINTAGE__") {
            command.env_remove(name);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed("starting the service"))
}

/// Keeps the end of the log, and tells the address as soon as it is logged.
fn follow(stderr: ChildStderr, log: Log) -> oneshot::Receiver<String> {
    let (tell, listening) = oneshot::channel();
    let mut tell = Some(tell);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some(address) = address_in(&line)
                && let Some(tell) = tell.take()
            {
                // Nobody waits any more: then nobody needs to know.
                let _ = tell.send(address);
            }
            let mut lines = log.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == KEPT_LINES {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    });
    listening
}

/// The line `listening` says where.
fn address_in(line: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    let fields = event.get("fields")?;
    if fields.get("message")? != "listening" {
        return None;
    }
    fields.get("grpc")?.as_str().map(str::to_owned)
}
