//! Docker's socket for a client that asks for a newer API than the engine speaks.
//!
//! An engine refuses paths that begin with a version beyond its own, and clients
//! should negotiate; testcontainers doesn't. So this stands between them and writes
//! the engine's version over the client's in each request's path, where it has the
//! same length. It claims nothing else: what the engine doesn't know, it still
//! refuses.

use std::{env, path::PathBuf};

use tempfile::TempDir;
use testcontainers::bollard::API_DEFAULT_VERSION;
use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::oneshot,
};

/// A socket in a folder of its own, served by a thread of its own.
pub struct Translator {
    folder: TempDir,
    _stop: oneshot::Sender<()>,
}

impl Translator {
    /// Listens for clients of an engine that speaks this version.
    pub fn start(engine: (usize, usize)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel();
        let path = Path { from: asked_for(), to: format!(" /v{}.{}/", engine.0, engine.1) };
        assert_eq!(path.from.len(), path.to.len());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                tokio::select! {
                    () = serve(UnixListener::from_std(listener).unwrap(), path) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { folder, _stop: stop }
    }

    /// What `DOCKER_HOST` is to be.
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }
}

/// How a request's path begins, and how it should.
#[derive(Clone)]
struct Path {
    from: String,
    to: String,
}

fn asked_for() -> String {
    format!(" /v{}.{}/", API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version)
}

async fn serve(listener: UnixListener, path: Path) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let engine = UnixStream::connect(engine()).await.unwrap();
        let path = path.clone();
        tokio::spawn(async move {
            let (mut asks, mut hears) = client.into_split();
            let (mut answers, mut told) = engine.into_split();
            let translating = async {
                let mut bytes = vec![0; 64 * 1024];
                loop {
                    let read = asks.read(&mut bytes).await?;
                    if read == 0 {
                        return told.shutdown().await;
                    }
                    translate(&mut bytes[..read], &path);
                    told.write_all(&bytes[..read]).await?;
                }
            };
            // One side may be through long before the other: an attached stream.
            let _ = tokio::join!(translating, io::copy(&mut answers, &mut hears));
        });
    }
}

/// Writes the engine's version into the request that begins here, if one does:
/// clients write the head of a request at once.
fn translate(bytes: &mut [u8], path: &Path) {
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let begins = method..method + path.from.len();
    if let Some(version) = bytes.get_mut(begins)
        && version == path.from.as_bytes()
    {
        version.copy_from_slice(path.to.as_bytes());
    }
}

/// The engine's own socket.
fn engine() -> PathBuf {
    let host = env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").into()
}
