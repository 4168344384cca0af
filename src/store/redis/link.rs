//! One connection to one server process, and who that is.
//!
//! The process matters: what another one says of marks may be incomplete. So each
//! link knows the `run_id` that was told when it was opened, and every script
//! that relies on a memory is given it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ErrorKind,
    IntoConnectionInfo as _, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo,
    RedisError, ServerErrorKind, TlsCertificates, Value, aio::MultiplexedConnection, cmd,
    from_redis_value, io::tcp::TcpSettings,
};

use super::{
    Address, Credentials, Login, RedisSettings, Tls,
    request::{Form, Request},
    server::Server,
};

/// A connection to a server that is a primary.
pub(super) struct Link {
    server: Server,
    line: Line,
    /// Where what must last is written and waited for, since waiting holds up
    /// whatever comes behind on the same connection.
    lasting: Option<Line>,
    wait: Wait,
}

/// For how many replicas what must last waits, and how long.
#[derive(Clone, Copy)]
struct Wait {
    replicas: u32,
    timeout: Duration,
}

/// One connection, and whether it is known to be closed.
pub(super) struct Line {
    connection: MultiplexedConnection,
    closed: Arc<AtomicBool>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another server has the place now; nothing was done.
    Moved(Address),
    /// Another server has these keys already; nothing was done.
    Asked(Address),
    /// The keys are on their way to another server; nothing was done.
    OnTheWay,
    /// The server can't or won't, and says so.
    Refused(String),
    /// This connection is of no more use. The request may have been carried out.
    Broken(String),
}

impl Trouble {
    /// A sentence for the log.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Moved(address) => format!("{address} has these keys now"),
            Self::Asked(address) => format!("{address} is about to have these keys"),
            Self::OnTheWay => "these keys are moving to another server".to_owned(),
            Self::Refused(cause) | Self::Broken(cause) => cause.clone(),
        }
    }
}

impl Link {
    /// Opens a link. Nothing here has a bound of time, so the caller sets one.
    pub(super) async fn open(settings: &RedisSettings, address: &Address) -> Result<Self, Trouble> {
        let credentials = settings.credentials.now();
        let Credentials { tls, login, .. } = &*credentials;
        let open = || Line::open(address, tls.as_ref(), login, settings.database);
        let line = open().await?;
        let server = line.server().await?;
        if !server.primary {
            return Err(Trouble::Broken("it is a replica".to_owned()));
        }
        let lasting = match settings.wait_replicas {
            0 => None,
            _ => Some(open().await?),
        };
        // Shorter than the call itself may take, so that its answer comes in time.
        let wait = Wait { replicas: settings.wait_replicas, timeout: settings.timeout / 5 * 4 };
        Ok(Self { server, line, lasting, wait })
    }

    /// Who is at the other end.
    pub(super) const fn server(&self) -> &Server {
        &self.server
    }

    /// Whether it isn't known to be closed.
    pub(super) fn is_open(&self) -> bool {
        self.line.is_open() && self.lasting.as_ref().is_none_or(Line::is_open)
    }

    /// Sends a request, and once more in its whole form to a server that hasn't
    /// seen the script.
    pub(super) async fn send(&self, request: &Request, asking: bool) -> Result<Value, Trouble> {
        match self.try_send(request, Form::Short, asking).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.try_send(request, Form::Whole, asking).await.map_err(trouble)?
            }
            sent => sent.map_err(trouble)?,
        }
        .map_err(Trouble::Refused)
    }

    async fn try_send(
        &self,
        request: &Request,
        form: Form,
        asking: bool,
    ) -> Result<Result<Value, String>, RedisError> {
        let command = request.command(form, &self.server.run);
        match &self.lasting {
            Some(line) if request.lasting() => line.send_and_wait(command, asking, self.wait).await,
            Some(_) | None if asking => self.line.send_asking(command).await.map(Ok),
            Some(_) | None => self.line.send(&command).await.map(Ok),
        }
    }
}

impl Line {
    pub(super) async fn open(
        address: &Address,
        tls: Option<&Tls>,
        login: &Login,
        database: u16,
    ) -> Result<Self, Trouble> {
        let client = client(address, tls, login, database).map_err(trouble)?;
        let closed = Arc::new(AtomicBool::new(false));
        let hears = Arc::clone(&closed);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(move |told: PushInfo| {
                if told.kind == PushKind::Disconnection {
                    hears.store(true, Ordering::Relaxed);
                }
                Ok::<(), std::convert::Infallible>(())
            });
        let connection =
            client.get_multiplexed_async_connection_with_config(&config).await.map_err(trouble)?;
        Ok(Self { connection, closed })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    /// Asks a question that changes nothing.
    pub(super) async fn ask(&self, question: &Cmd) -> Result<Value, Trouble> {
        self.send(question).await.map_err(trouble)
    }

    async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        self.connection.clone().send_packed_command(command).await?.extract_error()
    }

    /// In a cluster, while a slot moves: the server answers for keys that it has
    /// already and for a slot that isn't its own yet.
    async fn send_asking(&self, command: Cmd) -> Result<Value, RedisError> {
        let mut both = Pipeline::with_capacity(2);
        both.add_command(cmd("ASKING")).add_command(command);
        let [asked, answer] = self.send_two(&both).await?;
        asked.extract_error()?;
        answer.extract_error()
    }

    /// The answer, once so many replicas have what was written; else why not.
    async fn send_and_wait(
        &self,
        command: Cmd,
        asking: bool,
        wait: Wait,
    ) -> Result<Result<Value, String>, RedisError> {
        let mut waiting = cmd("WAIT");
        waiting.arg(wait.replicas).arg(u64::try_from(wait.timeout.as_millis()).unwrap_or(u64::MAX));
        let mut all = Pipeline::with_capacity(3);
        if asking {
            all.add_command(cmd("ASKING"));
        }
        all.add_command(command).add_command(waiting);
        let mut connection = self.connection.clone();
        let count = all.len();
        let mut answers = connection.send_packed_commands(&all, 0, count).await?.into_iter().rev();
        let (Some(waited), Some(answer)) = (answers.next(), answers.next()) else {
            return Ok(Err("two answers were expected, and fewer came".to_owned()));
        };
        let answer = answer.extract_error()?;
        let have: u32 = from_redis_value(waited.extract_error()?)?;
        if have >= wait.replicas {
            return Ok(Ok(answer));
        }
        Ok(Err(format!("{have} of {} replicas have it", wait.replicas)))
    }

    async fn send_two(&self, both: &Pipeline) -> Result<[Value; 2], RedisError> {
        let answers = self.connection.clone().send_packed_commands(both, 0, 2).await?;
        let missing = || RedisError::from((ErrorKind::UnexpectedReturnType, "two answers"));
        <[Value; 2]>::try_from(answers).map_err(|_| missing())
    }

    /// Asks who is there.
    async fn server(&self) -> Result<Server, Trouble> {
        let mut told = String::new();
        for section in ["server", "memory", "replication"] {
            let mut info = cmd("INFO");
            info.arg(section);
            let text: String =
                from_redis_value(self.ask(&info).await?).map_err(|error| trouble(error.into()))?;
            told.push_str(&text);
        }
        Server::read(&told).ok_or_else(|| Trouble::Broken("INFO names no run_id".to_owned()))
    }
}

fn client(
    address: &Address,
    tls: Option<&Tls>,
    login: &Login,
    database: u16,
) -> Result<Client, RedisError> {
    let Address { host, port } = address.clone();
    let mut redis = RedisConnectionInfo::default()
        .set_db(i64::from(database))
        .set_protocol(ProtocolVersion::RESP3)
        .set_lib_name("mintage", env!("CARGO_PKG_VERSION"));
    if let Some(username) = &login.username {
        redis = redis.set_username(username);
    }
    if let Some(password) = &login.password {
        redis = redis.set_password(password.as_str());
    }
    let tcp = TcpSettings::default().set_nodelay(true);
    let info = |address: ConnectionAddr| -> Result<_, RedisError> {
        Ok(address.into_connection_info()?.set_tcp_settings(tcp).set_redis_settings(redis))
    };
    let Some(tls) = tls else {
        return Client::open(info(ConnectionAddr::Tcp(host, port))?);
    };
    let address = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
    let client_tls = tls.client.as_ref().map(|(certificate, key)| ClientTlsConfig {
        client_cert: certificate.clone(),
        client_key: key.to_vec(),
    });
    let certificates = TlsCertificates { client_tls, root_cert: tls.ca.clone() };
    Client::build_with_tls(info(address)?, certificates)
}

/// What an error means for the request. What the server said is kept for the log:
/// it names keys at most, and those are hashes.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` calls it")]
pub(super) fn trouble(error: RedisError) -> Trouble {
    let redirected = || {
        let (address, _slot) = error.redirect_node()?;
        let (host, port) = address.rsplit_once(':')?;
        Some(Address { host: host.to_owned(), port: port.parse().ok()? })
    };
    match (error.kind(), redirected()) {
        (ErrorKind::Server(ServerErrorKind::Moved), Some(to)) => Trouble::Moved(to),
        (ErrorKind::Server(ServerErrorKind::Ask), Some(to)) => Trouble::Asked(to),
        (ErrorKind::Server(ServerErrorKind::TryAgain), _) => Trouble::OnTheWay,
        // It was a primary, and is no more.
        (ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown), _) => {
            Trouble::Broken(error.to_string())
        }
        (ErrorKind::Server(_) | ErrorKind::Extension, _) => Trouble::Refused(error.to_string()),
        _ => Trouble::Broken(error.to_string()),
    }
}
