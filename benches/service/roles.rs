//! The bare limits, each as a process of its own: what no service of this kind
//! can do without, and nothing else.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io::{self, BufRead as _, Write as _},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    thread,
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{
        KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
        RsaPublicKeyComponents,
    },
};
use bytes::Bytes;
use mintage::grpc::transport;
use tokio::task::JoinSet;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

use super::Failure;

/// Does what a role is for, until nobody orders anything any more.
pub(super) fn play(name: &str, argument: Option<&str>) -> Result<(), Failure> {
    match (name, argument) {
        ("echo", _) => {
            let address = echo()?;
            obey(|_| Ok(address.to_string()))
        }
        ("rsa", _) => {
            let rsa = Rsa::new()?;
            obey(|order| rsa.verify(order.parse()?).map(|()| "done".to_owned()))
        }
        ("evalsha", Some(url)) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let scripts = runtime.block_on(Scripts::connect(url))?;
            obey(|order| {
                let (at_once, times) = order.split_once(' ').ok_or("no such order")?;
                runtime.block_on(scripts.evaluate(at_once.parse()?, times.parse()?))?;
                Ok("done".to_owned())
            })
        }
        _ => Err("no such role".into()),
    }
}

fn obey(mut order: impl FnMut(&str) -> Result<String, Failure>) -> Result<(), Failure> {
    for line in io::stdin().lock().lines() {
        let answer = order(&line?)?;
        writeln!(io::stdout().lock(), "{answer}")?;
    }
    Ok(())
}

/// What the echo is sent, and what it answers.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EchoMessage {
    #[prost(uint32, tag = "1")]
    pub(super) answer_bytes: u32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) payload: Bytes,
}

/// A bare tonic server whose answers are as long as it is told: on a runtime of
/// one thread for each core, each with its own socket on the same port, as
/// Mintage has them.
fn echo() -> Result<SocketAddr, Failure> {
    let cores = thread::available_parallelism()?.get();
    let listeners = transport::listen(SocketAddr::from(([127, 0, 0, 1], 0)), cores)?;
    let address = listeners.first().ok_or("no listener")?.local_addr()?;
    for listener in listeners {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || {
            runtime.block_on(async move {
                let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?);
                let server = Server::builder().add_service(Echo);
                let served = server.serve_with_incoming(incoming.with_nodelay(Some(true))).await;
                served.map_err(io::Error::other)
            })
        });
    }
    Ok(address)
}

/// The echo as a service.
#[derive(Clone)]
struct Echo;

static ANSWER: LazyLock<Bytes> = LazyLock::new(|| vec![b'x'; 1024 * 1024].into());

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl UnaryService<EchoMessage> for Echo {
    type Response = EchoMessage;
    type Future = Ready<Result<Response<EchoMessage>, Status>>;

    fn call(&mut self, request: Request<EchoMessage>) -> Self::Future {
        let bytes = usize::try_from(request.get_ref().answer_bytes).unwrap_or(usize::MAX);
        let payload = ANSWER.slice(..bytes.min(ANSWER.len()));
        ready(Ok(Response::new(EchoMessage { answer_bytes: 0, payload })))
    }
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(Echo, request).await) })
    }
}

/// One RSA-2048 signature of a message as long as an ID token's, and its parsed
/// key.
struct Rsa {
    key: ParsedPublicKey,
    message: Vec<u8>,
    signature: Vec<u8>,
}

/// A GitHub job's ID token up to its signature.
const ID_TOKEN_BYTES: usize = 1_600;

impl Rsa {
    fn new() -> Result<Self, Failure> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let public = pair.public_key();
        let components = RsaPublicKeyComponents {
            n: public.modulus().big_endian_without_leading_zero(),
            e: public.exponent().big_endian_without_leading_zero(),
        };
        let message = vec![b'x'; ID_TOKEN_BYTES];
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &message, &mut signature)?;
        let key = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)?;
        Ok(Self { key, message, signature })
    }

    fn verify(&self, times: u32) -> Result<(), Failure> {
        for _ in 0..times {
            self.key.verify_sig(&self.message, &self.signature)?;
        }
        Ok(())
    }
}

/// A script that does nothing, with as much to say to it as a redeeming has,
/// through one multiplexed connection.
struct Scripts {
    connection: redis::aio::MultiplexedConnection,
    command: Arc<redis::Cmd>,
}

/// The mark, two limits, and the store's own key.
const KEYS: usize = 4;
const KEY_BYTES: usize = 64;

/// Times, ends and rates as decimals; the call, the seed and the server in base64.
const ARGUMENT_BYTES: [usize; 12] = [40, 16, 16, 10, 43, 16, 63, 3, 2, 7, 2, 7];

impl Scripts {
    async fn connect(url: &str) -> Result<Self, Failure> {
        let client = redis::Client::open(url)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg("return {'now'}");
        let hash: String = load.query_async(&mut connection).await?;
        let mut command = redis::cmd("EVALSHA");
        command.arg(hash).arg(KEYS);
        for bytes in [KEY_BYTES; KEYS].into_iter().chain(ARGUMENT_BYTES) {
            command.arg("x".repeat(bytes));
        }
        Ok(Self { connection, command: Arc::new(command) })
    }

    /// So many times, so many at once.
    async fn evaluate(&self, at_once: usize, times: usize) -> Result<(), Failure> {
        let mut callers = JoinSet::new();
        for at in 0..at_once {
            let (mut connection, command) = (self.connection.clone(), Arc::clone(&self.command));
            let mine = times / at_once + usize::from(at < times % at_once);
            callers.spawn(async move {
                for _ in 0..mine {
                    let command = redis::Cmd::clone(&command);
                    let _: (String,) = command.query_async(&mut connection).await?;
                }
                Ok::<_, redis::RedisError>(())
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended??;
        }
        Ok(())
    }
}
