//! Real gRPC calls over loopback: as many as a service takes, or at a given pace.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Buf as _, BufMut as _, Bytes};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tonic::{
    Request, Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use super::Failure;

/// Calls of one kind.
pub(super) struct Work {
    /// `/package.Service/Method`.
    pub(super) path: &'static str,
    /// The next message.
    pub(super) next: Box<dyn Fn() -> Option<Bytes> + Send + Sync>,
    /// Whether an answer is what is measured.
    pub(super) holds: fn(&Answer) -> bool,
}

/// What comes of a call.
pub(super) type Answer = Result<Bytes, Status>;

/// So many streams go over one connection, as a web tier would have several.
const STREAMS_OF_A_CONNECTION: usize = 64;

/// The connections to one service.
#[derive(Clone)]
pub(super) struct Connections {
    clients: Vec<Grpc<Channel>>,
    authorization: MetadataValue<Ascii>,
    asked: Arc<AtomicU64>,
}

impl Connections {
    /// Opens as many as so many streams need.
    pub(super) async fn open(
        address: SocketAddr,
        streams: usize,
        token: &str,
    ) -> Result<Self, Failure> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        let mut clients = Vec::new();
        for _ in 0..streams.div_ceil(STREAMS_OF_A_CONNECTION) {
            let client = Grpc::new(endpoint.connect().await?);
            let client = client.max_decoding_message_size(usize::MAX);
            clients.push(client.max_encoding_message_size(usize::MAX));
        }
        let authorization = format!("Bearer {token}").parse()?;
        Ok(Self { clients, authorization, asked: Arc::default() })
    }

    /// The client of a stream: they are spread over as few connections as hold them.
    fn client(&self, stream: usize, streams: usize) -> Option<Grpc<Channel>> {
        let used = streams.div_ceil(STREAMS_OF_A_CONNECTION);
        self.clients.get(stream % used).cloned()
    }

    /// How many calls were made.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// One call.
    pub(super) async fn call(&self, work: &Work) -> Result<Answer, Failure> {
        let message = (work.next)().ok_or("nothing is left to send")?;
        let client = self.client(0, 1).ok_or("no connection")?;
        self.send(client, work.path, message).await
    }

    async fn send(
        &self,
        mut client: Grpc<Channel>,
        path: &'static str,
        message: Bytes,
    ) -> Result<Answer, Failure> {
        client.ready().await?;
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        let path = http::uri::PathAndQuery::from_static(path);
        Ok(client.unary(request, path, Whole).await.map(Response::into_inner))
    }

    /// So many calls, so many at once; each stream sends its next call when it has
    /// the answer to the last. How long that took.
    pub(super) async fn saturate(
        &self,
        work: &Arc<Work>,
        streams: usize,
        calls: usize,
    ) -> Result<Duration, Failure> {
        let began = Instant::now();
        let mut running = JoinSet::new();
        for stream in 0..streams {
            let mine = calls / streams + usize::from(stream < calls % streams);
            let client = self.client(stream, streams).ok_or("no connection")?;
            let (all, work) = (self.clone(), Arc::clone(work));
            running.spawn(async move {
                for _ in 0..mine {
                    let message = (work.next)().ok_or("nothing is left to send")?;
                    let answer = all.send(client.clone(), work.path, message).await?;
                    held(&work, &answer)?;
                }
                Ok::<_, Failure>(())
            });
        }
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        Ok(began.elapsed())
    }

    /// So many calls at this pace, whether answers come or not. How long each took,
    /// from the moment at which it was due.
    pub(super) async fn pace(
        &self,
        work: &Arc<Work>,
        per_second: f64,
        calls: usize,
    ) -> Result<Vec<Duration>, Failure> {
        let mut running = JoinSet::new();
        let mut ticks = interval(Duration::from_millis(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let began = ticks.tick().await;
        let mut sent = 0;
        while sent < calls {
            let due_at = ticks.tick().await;
            let due = (due_at - began).as_secs_f64() * per_second;
            while sent < calls && (sent as f64) < due {
                let message = (work.next)().ok_or("nothing is left to send")?;
                let client = self.client(sent, self.clients.len() * STREAMS_OF_A_CONNECTION);
                let client = client.ok_or("no connection")?;
                let (all, work) = (self.clone(), Arc::clone(work));
                running.spawn(async move {
                    let answer = all.send(client, work.path, message).await?;
                    held(&work, &answer)?;
                    Ok::<_, Failure>(due_at.elapsed())
                });
                sent += 1;
            }
        }
        let mut took = Vec::new();
        while let Some(ended) = running.join_next().await {
            took.push(ended??);
        }
        Ok(took)
    }
}

fn held(work: &Work, answer: &Answer) -> Result<(), Failure> {
    if (work.holds)(answer) {
        return Ok(());
    }
    Err(Unexpected { path: work.path, status: answer.as_ref().err().cloned() }.into())
}

/// A call did not do what it is measured for.
#[derive(Debug)]
struct Unexpected {
    path: &'static str,
    status: Option<Status>,
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path;
        match &self.status {
            None => write!(f, "{path} answers otherwise than it should"),
            Some(status) => write!(f, "{path}: {:?}: {}", status.code(), status.message()),
        }
    }
}

impl std::error::Error for Unexpected {}

/// Messages as they are, so that this side's own work on them is small.
#[derive(Clone, Copy, Default)]
struct Whole;

impl Codec for Whole {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Whole {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(message);
        Ok(())
    }
}

impl Decoder for Whole {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
