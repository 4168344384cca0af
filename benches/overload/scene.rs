//! The server that is loaded, and what it is asked.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mintage::{
    app::SystemClock,
    grpc::proto::{self, publisher::Identity},
    ports::Clock as _,
};
use prost::Message as _;
use serde_json::json;

use crate::support::{
    http2,
    issuer::TestIssuer,
    process::Folder,
    service::{WEB, client_at, configuration_with, publishing, trusted, upload, verifying_access},
};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// An RS256 ID token, which is not redeemed: the same one mints again and again.
    Mint,
    /// A token with three caveats.
    Verify,
}

/// A running server on a core of its own.
pub(crate) struct Scene {
    pub(crate) address: SocketAddr,
    pub(crate) store: &'static str,
    issuer: TestIssuer,
    server: Child,
    _folder: Folder,
}

/// The server's core, and the generator's.
const CORES: [&str; 2] = ["0", "1"];

/// A limit that is asked and never spent.
const LIMIT: &str = "[limits.mint_per_publisher]\nburst = 1_000_000\ncount = 1_000_000\n\
                     period = \"1s\"\n";

impl Scene {
    pub(crate) fn start(redis: Option<&str>) -> Self {
        let issuer = TestIssuer::start();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let store = redis.map_or_else(String::new, |url| {
            format!("[store]\nkind = \"redis\"\nurl = \"{url}\"\nprefix = \"overload\"\n")
        });
        let sections = format!("{LIMIT}{store}");
        let toml = configuration_with("threads = 1", &issuer.url(), "", &sections)
            .replace("127.0.0.1:0", &address.to_string())
            .replace("provider = \"github\"", "provider = \"google\"");
        let folder = Folder::new(&toml);
        pin(std::process::id());
        // Its log is written as it always is; only nobody reads it.
        let server = Command::new("taskset")
            .args(["-c", CORES[0], env!("CARGO_BIN_EXE_mintage"), "serve", "--config"])
            .arg(folder.configuration())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "the server doesn't listen");
        }
        Self {
            address,
            store: if redis.is_some() { "with Redis" } else { "in memory" },
            issuer,
            server,
            _folder: folder,
        }
    }

    /// The frames of a call on stream 0.
    pub(crate) fn request(&self, call: Call) -> (Vec<u8>, Vec<u8>) {
        let mint = self.mint();
        let (path, message) = match call {
            Call::Mint => ("/mintage.v1.TokenService/Mint", mint.encode_to_vec()),
            Call::Verify => ("/mintage.v1.TokenService/Verify", self.verify(mint).encode_to_vec()),
        };
        let bearer = format!("Bearer {WEB}");
        let block = http2::call(path, &[("authorization", &bearer)]);
        (http2::headers(0, &block, false), http2::data(0, &http2::message(&message), true))
    }

    fn mint(&self) -> proto::MintRequest {
        let now = SystemClock.now().seconds();
        let email = "robot@project.example".to_owned();
        let id_token = self.issuer.id_token(&json!({
            "aud": "pypi", "sub": "1234", "email": email, "email_verified": true,
            "iat": now, "exp": now + 3600,
        }));
        let mut request = publishing(&self.issuer.url(), id_token);
        let google = proto::Google { email, subject: String::new() };
        trusted(&mut request).candidates[0].identity = Some(Identity::Google(google));
        request
    }

    /// A Verify of what this Mint gives. Both are made once by a good client, so that
    /// what is measured is known to be answered with a yes.
    fn verify(&self, mint: proto::MintRequest) -> proto::VerifyRequest {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = client_at(self.address, Some(WEB)).await;
            let minted = client.mint(mint).await.unwrap().into_inner();
            let request = verifying_access(&minted.token, upload());
            let answer = client.verify(request.clone()).await.unwrap().into_inner();
            assert_eq!(answer.verdict(), proto::Verdict::Allowed, "{:?}", answer.denials);
            request
        })
    }

    /// How much CPU the server has used, in user and kernel mode.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.server.id())).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let ticks = |at: usize| rest.split(' ').nth(at).unwrap().parse::<u64>().unwrap();
        Duration::from_millis((ticks(12) + ticks(13)) * 10)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Keeps this process off the server's core.
fn pin(process: u32) {
    let id = process.to_string();
    let pinned = Command::new("taskset").args(["-a", "-c", "-p", CORES[1], &id]).output().unwrap();
    assert!(pinned.status.success(), "{pinned:?}");
}
