//! A proxy in front of one server that spoils the way there, on purpose and at the
//! chosen moment.
//!
//! ```ignore
//! let cutter = Cutter::before(server.address());
//! cutter.spoil("EVALSHA", Fault::CutReply(3));      // the script ran, who knows
//! cutter.spoil("EVALSHA", Fault::Answer("LOADING …")); // it never came there
//! cutter.refuse();                                  // nobody gets in
//! cutter.pass();
//! ```
//!
//! It counts commands and replies, so that a fault meets the reply to the command
//! that it is meant for, and no other. Whatever a server can be brought to answer by
//! itself should be provoked there; this is for the rest. It speaks no TLS.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// What happens to one command and its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server carries it out; of its reply so many bytes come through, at most
    /// all but the last one, and then the connection is gone.
    CutReply(usize),
    /// The connection is gone before the server hears of it.
    CutRequest,
    /// The server never hears of it, and the client reads this error, without `-`.
    Answer(&'static str),
}

/// How whole connections fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Replies are held back; requests go through.
    Held,
    /// Nobody gets in, and nobody stays.
    Shut,
}

/// A running proxy.
pub struct Cutter {
    address: SocketAddr,
    way: watch::Sender<Way>,
    /// What still listens: nobody, once the way is shut.
    listens: watch::Receiver<bool>,
    armed: Arc<Mutex<Vec<Armed>>>,
}

/// A fault that waits for its command.
struct Armed {
    command: String,
    fault: Fault,
    /// How often it still comes.
    left: usize,
}

impl Cutter {
    /// Listens on a port of its own, on a thread of its own.
    pub async fn before(server: SocketAddr) -> Self {
        let address = (Ipv4Addr::LOCALHOST, super::free_port()).into();
        let armed = Arc::new(Mutex::new(Vec::new()));
        let (way, ways) = watch::channel(Way::Open);
        let (listening, listens) = watch::channel(false);
        let proxy = Proxy { server, address, ways, armed: Arc::clone(&armed) };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(proxy.run(&listening));
        });
        let cutter = Self { address, way, listens, armed };
        cutter.pass().await;
        cutter
    }

    /// Where it listens, as the service's configuration names it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The next command of this name meets this fault.
    pub fn spoil(&self, command: &str, fault: Fault) {
        self.spoil_some(command, fault, 1);
    }

    /// So many commands of this name meet this fault, one after the other.
    pub fn spoil_some(&self, command: &str, fault: Fault, left: usize) {
        let command = command.to_owned();
        self.armed.lock().unwrap().push(Armed { command, fault, left });
    }

    /// How many of the faults are still to come.
    pub fn to_come(&self) -> usize {
        self.armed.lock().unwrap().iter().map(|armed| armed.left).sum()
    }

    /// Everything goes through again, and no fault is to come.
    pub async fn pass(&self) {
        self.armed.lock().unwrap().clear();
        self.go(Way::Open, true).await;
    }

    /// Requests go through, replies are held back until [`Cutter::pass`].
    pub async fn hold(&self) {
        self.go(Way::Held, true).await;
    }

    /// Cuts every connection and refuses others.
    pub async fn refuse(&self) {
        self.go(Way::Shut, false).await;
    }

    async fn go(&self, way: Way, listens: bool) {
        self.way.send(way).unwrap();
        self.listens.clone().wait_for(|&now| now == listens).await.unwrap();
    }
}

/// What the proxy's thread knows.
#[derive(Clone)]
struct Proxy {
    server: SocketAddr,
    address: SocketAddr,
    ways: watch::Receiver<Way>,
    armed: Arc<Mutex<Vec<Armed>>>,
}

impl Proxy {
    /// Serves until its [`Cutter`] is dropped.
    async fn run(self, listening: &watch::Sender<bool>) {
        let mut ways = self.ways.clone();
        loop {
            let listener = TcpListener::bind(self.address).await.unwrap();
            listening.send_replace(true);
            let mut connections = JoinSet::new();
            let shut = loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (client, _) = accepted.unwrap();
                        connections.spawn(self.clone().connection(client));
                    }
                    shut = ways.wait_for(|&way| way == Way::Shut) => break shut.is_ok(),
                }
            };
            if !shut {
                return;
            }
            connections.shutdown().await;
            drop(listener);
            listening.send_replace(false);
            if ways.wait_for(|&way| way != Way::Shut).await.is_err() {
                return;
            }
        }
    }

    /// Carries one connection until either side, or a fault, ends it.
    async fn connection(mut self, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(self.server).await else { return };
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        let mut wire = Wire::default();
        loop {
            let held = *self.ways.borrow() == Way::Held;
            tokio::select! {
                read = client.read_buf(&mut asked) => {
                    if !matches!(read, Ok(1..)) { return }
                    while let Some(command) = frame(&mut asked) {
                        let fault = self.fault_for(&command);
                        if fault == Some(Fault::CutRequest) { return }
                        let kept_back = matches!(fault, Some(Fault::Answer(_)));
                        wire.waiting.push_back(fault);
                        if !kept_back && server.write_all(&command).await.is_err() { return }
                    }
                }
                read = server.read_buf(&mut answered), if !held => {
                    if !matches!(read, Ok(1..)) { return }
                    while let Some(reply) = frame(&mut answered) {
                        wire.replied(&reply);
                    }
                }
                changed = self.ways.changed() => if changed.is_err() { return },
            }
            wire.answer_ourselves();
            if client.write_all(&wire.out).await.is_err() || wire.cut {
                return;
            }
            wire.out.clear();
        }
    }

    /// The fault that waits for this command, now met.
    fn fault_for(&self, command: &[u8]) -> Option<Fault> {
        let name = name(command);
        let mut armed = self.armed.lock().unwrap();
        let met = armed.iter().position(|armed| armed.command.eq_ignore_ascii_case(&name))?;
        let fault = armed[met].fault.clone();
        armed[met].left -= 1;
        armed.retain(|armed| armed.left > 0);
        Some(fault)
    }
}

/// What is on its way to one client.
#[derive(Default)]
struct Wire {
    /// For every command without a reply yet, its fault.
    waiting: VecDeque<Option<Fault>>,
    out: Vec<u8>,
    cut: bool,
}

impl Wire {
    /// The server's next reply, or what it says unasked (`>`).
    fn replied(&mut self, reply: &[u8]) {
        self.answer_ourselves();
        if self.cut {
            return;
        }
        if reply.starts_with(b">") {
            self.out.extend_from_slice(reply);
            return;
        }
        match self.waiting.pop_front() {
            Some(Some(Fault::CutReply(after))) => {
                self.out.extend_from_slice(&reply[..after.min(reply.len() - 1)]);
                self.cut = true;
            }
            _ => self.out.extend_from_slice(reply),
        }
    }

    /// Answers the commands at the head that the server never heard of.
    fn answer_ourselves(&mut self) {
        while let (false, Some(Some(Fault::Answer(error)))) = (self.cut, self.waiting.front()) {
            self.out.extend_from_slice(format!("-{error}\r\n").as_bytes());
            self.waiting.pop_front();
        }
    }
}

/// Takes the first whole message off the bytes.
fn frame(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = end_of(bytes, 0)?;
    Some(bytes.drain(..end).collect())
}

/// Where the message that begins at `from` ends; none while it isn't all there.
fn end_of(bytes: &[u8], from: usize) -> Option<usize> {
    let line = bytes[from..].windows(2).position(|pair| pair == b"\r\n")? + from;
    let after = line + 2;
    let count = std::str::from_utf8(&bytes[from + 1..line]).unwrap().parse::<usize>();
    let parts = |each: usize| match count {
        Ok(count) => (0..each * count).try_fold(after, |at, _| end_of(bytes, at)),
        // Minus one stands for nothing.
        Err(_) => Some(after),
    };
    match bytes[from] {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Some(after),
        b'$' | b'!' | b'=' => {
            let end = count.map_or(after, |count| after + count + 2);
            (end <= bytes.len()).then_some(end)
        }
        b'*' | b'~' | b'>' => parts(1),
        b'%' => parts(2),
        // An attribute stands before the message that it is about.
        b'|' => end_of(bytes, parts(2)?),
        other => panic!("no message begins with {:?}", char::from(other)),
    }
}

/// The first word of a command, which is an array of strings.
fn name(command: &[u8]) -> String {
    String::from_utf8_lossy(command).split("\r\n").nth(2).unwrap_or_default().to_owned()
}
