//! A Redis for the time of the benchmark: the one that is named, or one of our
//! own from a `redis-server` or `valkey-server` on the PATH or in `.venv`.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Stdio,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    Failure,
    child::{Child, Cores},
};

/// A running Redis.
pub(super) struct Redis {
    pub(super) url: String,
    _own: Option<Child>,
}

/// Names a Redis that may be written to.
const NAMED: &str = "MINTAGE_TEST_REDIS_URL";

/// Where the tests put one counts too.
const PROGRAMS: [&str; 4] =
    ["redis-server", "valkey-server", ".venv/bin/redis-server", ".venv/bin/valkey-server"];

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

impl Redis {
    /// The one that is there; None where there is none.
    pub(super) async fn find() -> Result<Option<Self>, Failure> {
        if let Ok(url) = std::env::var(NAMED) {
            return Ok(Some(Self { url, _own: None }));
        }
        for program in PROGRAMS {
            if Cores::Others
                .command(program)
                .arg("--version")
                .output()
                .is_ok_and(|ran| ran.status.success())
            {
                return Self::start(program).await.map(Some);
            }
        }
        Ok(None)
    }

    async fn start(program: &str) -> Result<Self, Failure> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Cores::Others.command(program);
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let own = Child::spawn(command)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if began.elapsed() > PATIENCE {
                return Err(format!("{program} does not listen").into());
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { url: format!("redis://{address}"), _own: Some(own) })
    }
}
