//! A server in a container, by testcontainers.
//!
//! The image is `redis:8` where it is here or can be pulled; else
//! `scripts/redis-image` makes one from scratch out of a program on this machine. It
//! is published on a port of 127.0.0.1.
//!
//! testcontainers reads `DOCKER_HOST` and speaks one version of the API, whatever the
//! engine speaks. Where the engine is too old for it (Debian's ends at 1.41), a test
//! runs itself again in a process whose `DOCKER_HOST` is a [`Translator`]'s socket;
//! a current engine doesn't need that.
//!
//! ```ignore
//! #[tokio::test(flavor = "multi_thread")]
//! async fn the_suite_in_a_container() {
//!     let Some(server) = docker::server().await else { return };
//!     … server.url() …
//!     server.end().await;
//! }
//! ```

#![allow(unreachable_pub, reason = "the test binaries are the public")]
#![allow(clippy::indexing_slicing, reason = "a test that can't go on has failed")]

mod translator;

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use testcontainers::{
    ContainerAsync, GenericImage, ImageExt as _,
    bollard::API_DEFAULT_VERSION,
    core::{IntoContainerPort as _, WaitFor},
    runners::AsyncRunner as _,
};
use tokio::time::Instant;

use self::translator::Translator;
use super::support::{
    process::Process,
    redis::{Binary, Kind, binary_rather, free_port, left_out, say},
};

/// What is set for a test that runs itself again.
const AGAIN: &str = "MINTAGE_TEST_DOCKER_AGAIN";

/// The label of our containers; its value is the process that they belong to.
const LABEL: &str = "mintage-test";

/// How long a test may take in a process of its own.
const ANOTHER_RUN: Duration = Duration::from_secs(180);

/// A server in a container. Dropped, it is taken away.
pub struct Contained {
    container: ContainerAsync<GenericImage>,
    port: u16,
}

impl Contained {
    /// As the service's configuration names it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Takes it away, and waits until it is gone.
    pub async fn end(self) {
        self.container.rm().await.unwrap();
    }
}

/// A server in a container of its own. None where no engine answers, which is said
/// loudly, and none where the running test has just been run in another process.
pub async fn server() -> Option<Contained> {
    let Some(engine) = engine_version() else {
        left_out("no Docker engine answers `docker info`");
        return None;
    };
    let wanted = (API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version);
    if engine < wanted && env::var_os(AGAIN).is_none() {
        let ends = format!("{}.{}", engine.0, engine.1);
        say(&format!("Docker's API ends at {ends}, before the one asked for: translating"));
        run_again(Translator::start(engine)).await;
        return None;
    }
    sweep();
    let (name, tag) = image()?;
    say(&format!("servers for tests: {name}:{tag} in a container"));
    let port = free_port();
    let request = GenericImage::new(name, tag)
        .with_wait_for(WaitFor::message_on_stdout("Ready to accept connections"))
        .with_mapped_port(port, 6379.tcp())
        .with_host_config_modifier(|config| {
            let published = config.port_bindings.iter_mut().flat_map(|ports| ports.values_mut());
            for binding in published.flatten().flatten() {
                binding.host_ip = Some("127.0.0.1".to_owned());
            }
        })
        .with_label(LABEL, std::process::id().to_string())
        .with_cmd(["--save", "", "--protected-mode", "no"]);
    Some(Contained { container: request.start().await.unwrap(), port })
}

/// The version of the API that the engine speaks; none where none answers.
fn engine_version() -> Option<(usize, usize)> {
    docker(&["info"])?;
    let version = docker(&["version", "--format", "{{.Server.APIVersion}}"])?;
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The running test in a process of its own, which reaches the engine through this.
async fn run_again(translator: Translator) {
    let test = thread::current().name().unwrap().to_owned();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", &test]);
    let host = translator.docker_host();
    let all: Vec<(String, String)> = env::vars().collect();
    let mut environment: Vec<(&str, &str)> =
        all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    environment.extend([("DOCKER_HOST", host.as_str()), (AGAIN, "1")]);
    let mut process = Process::run_with(command, &environment);
    let until = Instant::now() + ANOTHER_RUN;
    while process.runs() {
        assert!(Instant::now() < until, "{}", process.err());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let succeeded = process.wait().success();
    let said = process.err();
    said.lines().filter_map(|line| line.strip_prefix("mintage: ")).for_each(say);
    assert!(succeeded && process.out().contains("1 passed"), "{}\n{said}", process.out());
}

/// The image to start. None, and said loudly, where there is none.
fn image() -> Option<(String, String)> {
    let official = ("redis".to_owned(), "8".to_owned());
    if is_here("redis:8") || docker(&["pull", "--quiet", "redis:8"]).is_some() {
        return Some(official);
    }
    let Binary { kind, version, program } = binary_rather(Kind::Redis8)?;
    let name = match kind {
        Kind::Valkey => "mintage-test-valkey",
        Kind::Redis | Kind::Redis8 | Kind::Given => "mintage-test-redis",
    };
    let tag = format!("{name}:{version}");
    if !is_here(&tag) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/redis-image");
        let made = Command::new(script).arg(program).arg(&tag).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    Some((name.to_owned(), version.clone()))
}

fn is_here(image: &str) -> bool {
    docker(&["image", "inspect", image]).is_some()
}

/// Takes away what tests left behind that were killed: containers of processes
/// that are no more.
fn sweep() {
    let format = format!("{{{{.ID}}}} {{{{.Label \"{LABEL}\"}}}}");
    let ours = docker(&["ps", "--all", "--filter", &format!("label={LABEL}"), "--format", &format]);
    for line in ours.unwrap_or_default().lines() {
        let Some((container, process)) = line.split_once(' ') else { continue };
        // Where there is no such folder, nobody can tell.
        let gone = Path::new("/proc/self").exists() && !Path::new("/proc").join(process).exists();
        if gone {
            docker(&["rm", "--force", "--volumes", container]);
        }
    }
}

/// What Docker's command answers; none where it fails, or isn't there.
fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output().ok()?;
    let out = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(out)
}
