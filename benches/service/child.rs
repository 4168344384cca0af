//! Processes whose CPU and memory are measured, each on a core of its own where
//! the machine has two.

use std::{
    ffi::OsStr,
    fs,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::SocketAddr,
    path::Path,
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::Failure;

/// Which cores a process may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cores {
    /// The first one: what is measured.
    Measured,
    /// The others: what loads it, and what it asks.
    Others,
}

impl Cores {
    /// Whether processes can be kept to cores here.
    pub(super) fn kept() -> bool {
        // Asked once: what is kept to one core sees but one.
        static KEPT: LazyLock<bool> = LazyLock::new(|| {
            let several = thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
            several && Command::new("taskset").arg("--version").output().is_ok()
        });
        *KEPT
    }

    fn list(self) -> &'static str {
        match self {
            Self::Measured => "0",
            Self::Others => "1-1023",
        }
    }

    /// A command on these cores, or on any where they can't be told.
    pub(super) fn command(self, program: impl AsRef<OsStr>) -> Command {
        if Self::kept() {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", self.list()]).arg(program);
            command
        } else {
            Command::new(program)
        }
    }

    /// Keeps this process, and every thread that it starts from now on, to these.
    pub(super) fn keep_to(self) {
        if Self::kept() {
            let me = process::id().to_string();
            let mut taskset = Command::new("taskset");
            // Where it can't be done, the figures are less steady, and no less true.
            let _ = taskset.args(["--cpu-list", "--pid", self.list(), &me]).output();
        }
    }
}

/// A running process. Dropped, it is killed.
pub(super) struct Child(process::Child);

impl Child {
    /// Starts it, without this process's environment.
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).spawn().map(Self)
    }

    /// The processor time that its threads have had.
    pub(super) fn cpu(&self) -> Result<Duration, Failure> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let first = text.split(' ').next().unwrap_or_default();
            nanoseconds += first.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// What it holds in memory at present, and what it held at most, in bytes.
    pub(super) fn memory(&self) -> Result<(u64, u64), Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
            number.unwrap_or_default().parse::<u64>()
        };
        Ok((kib("VmRSS:")? * 1024, kib("VmHWM:")? * 1024))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `mintage serve`, its log on a pipe that is read as it would be by an operator's
/// collector.
pub(super) struct Mintage {
    pub(super) child: Child,
    pub(super) address: SocketAddr,
    audited: Arc<AtomicU64>,
}

impl Mintage {
    /// Starts it, and waits until it listens.
    pub(super) fn start(configuration: &Path) -> Result<Self, Failure> {
        let mut command = Cores::Measured.command(env!("CARGO_BIN_EXE_mintage"));
        command.arg("serve").arg("--config").arg(configuration);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = Child::spawn(command)?;
        let log = child.0.stderr.take().ok_or("no standard error")?;
        let audited = Arc::new(AtomicU64::new(0));
        let (counted, (said, listens)) = (Arc::clone(&audited), mpsc::channel());
        thread::spawn(move || read_log(log, &said, &counted));
        let line = listens.recv_timeout(PATIENCE)?;
        let address = line.split_once("\"grpc\":\"").and_then(|(_, rest)| rest.split('"').next());
        let address = address.ok_or_else(|| format!("mintage did not start: {line}"))?;
        Ok(Self { child, address: address.parse()?, audited })
    }

    /// How many events of its audit trail were read.
    pub(super) fn audited(&self) -> u64 {
        self.audited.load(Ordering::Relaxed)
    }
}

/// How long anything may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells the line in which it listens, or its last words; then counts.
fn read_log(log: impl Read, said: &mpsc::Sender<String>, audited: &AtomicU64) {
    let mut log = BufReader::with_capacity(256 * 1024, log);
    let mut line = String::new();
    let mut told = false;
    while log.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        if !told && (line.contains("\"listening\"") || line.starts_with("error")) {
            told = true;
            let _ = said.send(line.clone());
        }
        audited.fetch_add(u64::from(line.contains("mintage::audit")), Ordering::Relaxed);
        line.clear();
    }
}

/// This program once more, in one of its other roles: a bare limit. It does what
/// each line on its standard input says, and answers each with one.
pub(super) struct Role {
    pub(super) child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Role {
    /// Starts it.
    pub(super) fn start(name: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let mut command = Cores::Measured.command(std::env::current_exe()?);
        command.args([super::ROLE, name]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Child::spawn(command)?;
        let orders = child.0.stdin.take().ok_or("no standard input")?;
        let answers = BufReader::new(child.0.stdout.take().ok_or("no standard output")?);
        Ok(Self { child, orders, answers })
    }

    /// Orders something, and waits for the answer.
    pub(super) fn order(&mut self, order: &str) -> Result<String, Failure> {
        writeln!(self.orders, "{order}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.trim_end() {
            "" => Err("a process that measures a bare limit ended".into()),
            answer => Ok(answer.to_owned()),
        }
    }
}
