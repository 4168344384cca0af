//! The real binary as a child process.
//!
//! ```ignore
//! let folder = Folder::new(&configuration(&issuer.url(), "", ""));
//! let mut process = Process::start(&folder);
//! process.signal("TERM");
//! assert!(process.wait().success());
//! ```

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;
use tokio::time::Instant;

/// How long anything may take, on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with a configuration and a keyring.
pub struct Folder(TempDir);

impl Folder {
    /// With this configuration, and the key `k1`.
    pub fn new(toml: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folder.keys()).unwrap();
        folder.key("k1", &[0x5a; 32]);
        fs::write(folder.configuration(), toml).unwrap();
        folder
    }

    /// Writes a master key, as `mintage keys generate` does: at once.
    pub fn key(&self, id: &str, bytes: &[u8]) {
        self.key_file(id, &(STANDARD.encode(bytes) + "\n"));
    }

    /// Writes a key file with any content.
    pub fn key_file(&self, id: &str, content: &str) {
        let draft = self.0.path().join("draft");
        fs::write(&draft, content).unwrap();
        fs::rename(draft, self.keys().join(id)).unwrap();
    }

    /// Takes a key away.
    pub fn remove_key(&self, id: &str) {
        fs::remove_file(self.keys().join(id)).unwrap();
    }

    /// Lays another configuration down, at once.
    pub fn configure(&self, toml: &str) {
        let draft = self.0.path().join("draft");
        fs::write(&draft, toml).unwrap();
        fs::rename(draft, self.configuration()).unwrap();
    }

    /// Where the configuration is.
    pub fn configuration(&self) -> PathBuf {
        self.0.path().join("mintage.toml")
    }

    /// The keyring's folder.
    pub fn keys(&self) -> PathBuf {
        self.0.path().join("keys")
    }
}

/// A running `mintage`. Dropped, it is killed.
pub struct Process {
    child: Child,
    written: Arc<(Mutex<Written>, Condvar)>,
}

/// What it wrote, line by line.
#[derive(Default)]
struct Written {
    out: Vec<String>,
    err: Vec<String>,
    open: usize,
}

impl Process {
    /// `mintage serve`, once it listens.
    pub fn start(folder: &Folder) -> Self {
        let process = Self::spawn(folder);
        process.wait_for_line("listening");
        process
    }

    /// `mintage serve`, whatever comes of it.
    pub fn spawn(folder: &Folder) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mintage"));
        command.args(["serve", "--config"]).arg(folder.configuration());
        Self::run(command)
    }

    /// Any command, without this process's environment.
    pub fn run(command: Command) -> Self {
        Self::run_with(command, &[])
    }

    /// The same with an environment of the test's own.
    pub fn run_with(mut command: Command, environment: &[(&str, &str)]) -> Self {
        let mut child = command
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let written =
            Arc::new((Mutex::new(Written { open: 2, ..Written::default() }), Condvar::new()));
        follow(child.stdout.take().unwrap(), &written, |written| &mut written.out);
        follow(child.stderr.take().unwrap(), &written, |written| &mut written.err);
        Self { child, written }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it writes a line on standard error with this in it.
    pub fn wait_for_line(&self, part: &str) -> String {
        let (lock, changed) = &*self.written;
        let until = Instant::now() + PATIENCE;
        let mut written = lock.lock().unwrap();
        loop {
            if let Some(line) = written.err.iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && written.open > 0, "no {part:?} in {:#?}", written.err);
            written = changed.wait_timeout(written, left).unwrap().0;
        }
    }

    /// Where it serves gRPC.
    pub fn grpc(&self) -> SocketAddr {
        self.address("grpc")
    }

    /// Where it serves the probes.
    pub fn admin(&self) -> SocketAddr {
        self.address("admin")
    }

    /// An address in the line `listening`, whatever the form of its lines.
    fn address(&self, field: &str) -> SocketAddr {
        let line = self.wait_for_line("listening");
        let (_, rest) = line.split_once(field).unwrap();
        let address = rest.trim_start_matches(['"', ':', '=']);
        let end = address.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
        address[..end.unwrap_or(address.len())].parse().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits until it has ended, and everything it wrote is read.
    pub fn wait(&mut self) -> ExitStatus {
        let (lock, changed) = &*self.written;
        let written = lock.lock().unwrap();
        let (written, waited) =
            changed.wait_timeout_while(written, PATIENCE, |written| written.open > 0).unwrap();
        assert!(!waited.timed_out(), "it doesn't end; so far: {:#?}", written.err);
        drop(written);
        self.child.wait().unwrap()
    }

    /// The same for a test whose own clients must go on meanwhile: an HTTP/2 client
    /// that stands still doesn't hear that the service ends.
    pub async fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        while self.written.0.lock().unwrap().open > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.wait()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it wrote on standard output.
    pub fn out(&self) -> String {
        self.written.0.lock().unwrap().out.join("\n")
    }

    /// What it wrote on standard error.
    pub fn err(&self) -> String {
        self.written.0.lock().unwrap().err.join("\n")
    }

    /// Its resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(
    pipe: impl std::io::Read + Send + 'static,
    written: &Arc<(Mutex<Written>, Condvar)>,
    lines: fn(&mut Written) -> &mut Vec<String>,
) {
    let written = Arc::clone(written);
    std::thread::spawn(move || {
        let (lock, changed) = &*written;
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            lines(&mut lock.lock().unwrap()).push(line);
            changed.notify_all();
        }
        lock.lock().unwrap().open -= 1;
        changed.notify_all();
    });
}
