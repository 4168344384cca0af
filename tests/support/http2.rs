//! HTTP/2 by hand, for peers that a good client library would not let us be:
//! frames as RFC 9113 has them, header blocks as RFC 7541 has them without any
//! compression, over a blocking socket.
//!
//! ```ignore
//! let mut peer = Peer::greeted(address);
//! peer.send(&headers(1, &call("/mintage.v1.TokenService/Verify", &[]), false));
//! peer.send(&reset(1));
//! assert!(peer.is_dropped());
//! ```

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request};

/// The 24 bytes that a client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The kinds of frames that tests look at.
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RESET: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const CONTINUATION: u8 = 9;
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Any frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// SETTINGS that change these, by number and value.
pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (number, value) in values {
        payload.extend(number.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(kind::SETTINGS, 0, 0, &payload)
}

/// HEADERS in one frame.
pub fn headers(stream: u32, block: &[u8], end: bool) -> Vec<u8> {
    let end = if end { END_STREAM } else { 0 };
    frame(kind::HEADERS, END_HEADERS | end, stream, block)
}

/// HEADERS that go on in CONTINUATION frames, and never end.
pub fn open_headers(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, 0, stream, block)
}

/// DATA.
pub fn data(stream: u32, payload: &[u8], end: bool) -> Vec<u8> {
    frame(kind::DATA, u8::from(end), stream, payload)
}

/// `RST_STREAM` with `CANCEL`.
pub fn reset(stream: u32) -> Vec<u8> {
    frame(kind::RESET, 0, stream, &8_u32.to_be_bytes())
}

/// The header block of a gRPC call, with more headers.
pub fn call(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "mintage"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    usual.iter().chain(more).flat_map(|(name, value)| literal(name, value)).collect()
}

/// One header, never indexed, with a name of its own.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0x10];
    for text in [name, value] {
        bytes.extend(string_length(text.len()));
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// An integer with a prefix of 7 bits.
fn string_length(length: usize) -> Vec<u8> {
    let Some(mut rest) = length.checked_sub(127) else { return vec![length as u8] };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(128 | (rest % 128) as u8);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}

/// A gRPC message: not compressed, its length, itself.
pub fn message(bytes: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    framed.extend(bytes);
    framed
}

/// A frame that came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// The other end of a connection, which does only what a test says.
pub struct Peer(pub TcpStream);

/// For how long a peer waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

impl Peer {
    /// A connection on which nothing was said.
    pub fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// A connection with its preface and empty SETTINGS.
    pub fn greeted(address: SocketAddr) -> Self {
        let mut peer = Self::silent(address);
        peer.send(&[PREFACE, &settings(&[])].concat());
        peer
    }

    /// Says something. A peer that was dropped speaks to nobody.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// The next frame. None: the connection is over.
    pub fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let mut payload =
            vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        self.read(&mut payload)?;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of this kind; others are passed over.
    pub fn frame_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.frame()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Answers the server's SETTINGS and PINGs until a frame of this kind comes.
    pub fn wait_for(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.frame()?;
            let unanswered = frame.flags & ACK == 0;
            if frame.kind == kind::SETTINGS && unanswered {
                self.send(&self::frame(kind::SETTINGS, ACK, 0, &[]));
            }
            if frame.kind == kind::PING && unanswered {
                self.send(&self::frame(kind::PING, ACK, 0, &frame.payload));
            }
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Whether the server closes the connection, within ten seconds.
    pub fn is_dropped(&mut self) -> bool {
        let mut sink = [0; 4096];
        loop {
            match self.0.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                }
            }
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.0.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("waited in vain for the server")
            }
            Err(_) => None,
        }
    }
}

/// A well-behaved client with everything in sight.
pub type Client = h2::client::SendRequest<Bytes>;

/// Connects such a client. The handle ends with the connection.
pub async fn client(
    address: SocketAddr,
) -> (Client, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    (client, tokio::spawn(connection))
}

/// The head of a gRPC call.
pub fn head(path: &str, more: &[(&str, &str)]) -> Request<()> {
    let mut head = Request::post(format!("http://mintage{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in more {
        head = head.header(*name, *value);
    }
    head.body(()).unwrap()
}

/// Makes a call, and gives the headers in which its gRPC status is: the trailers,
/// or the head where there was nothing else.
pub async fn status_of(
    client: &Client,
    head: Request<()>,
    body: &[u8],
) -> Result<HeaderMap, h2::Error> {
    let mut client = client.clone().ready().await?;
    let (answer, mut sending) = client.send_request(head, false)?;
    sending.send_data(Bytes::copy_from_slice(body), true)?;
    let (head, mut body) = answer.await?.into_parts();
    if head.headers.contains_key("grpc-status") {
        return Ok(head.headers);
    }
    while let Some(piece) = body.data().await {
        body.flow_control().release_capacity(piece?.len())?;
    }
    Ok(body.trailers().await?.unwrap_or_default())
}

/// The number of a gRPC status.
pub fn code(headers: &HeaderMap) -> &str {
    headers.get("grpc-status").map_or("none", |value| value.to_str().unwrap())
}
