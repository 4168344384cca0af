//! One HTTP/2 connection that makes the same call again and again, for next to
//! nothing: its frames are ready, and of an answer only the frames' heads are read.
//! A good client library costs more per call than the server does, and would be
//! what is measured.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use crate::support::http2::{PREFACE, frame, kind, settings};

/// Streams at once, as the server allows.
pub(crate) const STREAMS: usize = 128;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const INITIAL_WINDOW_SIZE: u16 = 4;
const NO_ERROR: [u8; 4] = [0; 4];
const MOST_WINDOW: u32 = 0x7fff_ffff;
/// What RFC 9113 lets a connection send before it hears of more.
const FIRST_WINDOW: i64 = 65_535;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Whether there was a message, and not a status alone.
    pub(crate) answered: bool,
    /// When it was due.
    pub(crate) due: Instant,
}

pub(crate) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    /// Where the stream's number stands in the request, and how much DATA it has.
    numbers: [usize; 2],
    data: i64,
    unsent: Vec<u8>,
    received: Vec<u8>,
    next: u32,
    window: i64,
    /// Calls by their streams' order; those that ended at the front are forgotten.
    calls: VecDeque<Option<(Instant, bool)>>,
    first: u32,
    pub(crate) running: usize,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr, (headers, data): &(Vec<u8>, Vec<u8>)) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        let window = frame(WINDOW_UPDATE, 0, 0, &(MOST_WINDOW - 65_535).to_be_bytes());
        let hello = [PREFACE, &settings(&[(INITIAL_WINDOW_SIZE, MOST_WINDOW)]), &window].concat();
        Self {
            stream,
            request: [headers.as_slice(), data].concat(),
            numbers: [5, headers.len() + 5],
            data: (data.len() - 9) as i64,
            unsent: hello,
            received: Vec::new(),
            next: 1,
            window: FIRST_WINDOW,
            calls: VecDeque::new(),
            first: 1,
            running: 0,
        }
    }

    /// Whether there is room for one more call.
    pub(crate) fn has_room(&self) -> bool {
        self.running < STREAMS && self.window >= self.data
    }

    /// Begins a call; [`Connection::flush`] sends it.
    pub(crate) fn call(&mut self, due: Instant) {
        let at = self.unsent.len();
        self.unsent.extend_from_slice(&self.request);
        for number in self.numbers {
            self.unsent[at + number..at + number + 4].copy_from_slice(&self.next.to_be_bytes());
        }
        self.next += 2;
        self.window -= self.data;
        self.running += 1;
        self.calls.push_back(Some((due, false)));
    }

    /// Sends what the socket takes.
    pub(crate) fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the server hung up: {error}"),
            }
        }
    }

    /// Reads what has come, and tells of every call that ended.
    pub(crate) fn read(&mut self, ended: &mut Vec<Ended>) {
        let mut bytes = [0; 64 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => panic!("the server hung up"),
            Ok(count) => self.received.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("the server hung up: {error}"),
        }
        let received = std::mem::take(&mut self.received);
        let mut rest = received.as_slice();
        while let Some((head, after)) = rest.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            self.frame(head[3], head[4], stream, payload, ended);
            rest = after;
        }
        self.received = rest.to_vec();
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8], ended: &mut Vec<Ended>) {
        match kind {
            kind::SETTINGS if flags & ACK == 0 => {
                self.unsent.extend(frame(kind::SETTINGS, ACK, 0, &[]));
            }
            kind::PING if flags & ACK == 0 => {
                self.unsent.extend(frame(kind::PING, ACK, 0, payload));
            }
            WINDOW_UPDATE if stream == 0 => {
                self.window += i64::from(u32::from_be_bytes(payload.try_into().unwrap()));
            }
            kind::DATA => {
                let at = (stream - self.first) as usize / 2;
                if let Some(call) = &mut self.calls[at] {
                    call.1 = true;
                }
            }
            kind::HEADERS if flags & END_STREAM != 0 => self.end(stream, ended),
            // It was refused before all of it was read (RFC 9113, section 8.1).
            kind::RESET if self.has_ended(stream) && payload == NO_ERROR => {}
            kind::RESET | kind::GOAWAY => panic!("the server gave up: {kind} {payload:?}"),
            _ => {}
        }
    }

    fn has_ended(&self, stream: u32) -> bool {
        stream < self.first || self.calls[(stream - self.first) as usize / 2].is_none()
    }

    fn end(&mut self, stream: u32, ended: &mut Vec<Ended>) {
        let at = (stream - self.first) as usize / 2;
        let (due, answered) = self.calls[at].take().unwrap();
        ended.push(Ended { answered, due });
        self.running -= 1;
        while let Some(None) = self.calls.front() {
            self.calls.pop_front();
            self.first += 2;
        }
    }
}
