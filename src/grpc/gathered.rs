//! Answers of many calls, written together.
//!
//! The library writes each answer of 256 bytes and more as soon as it is framed,
//! with a system call of its own, which costs more than the framing. Calls of one
//! connection are answered in bursts, so here bytes are gathered for as long as the
//! connection is being looked after, and sent when that is done.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection has at most so many gathered, and none while nothing is to be sent:
/// a peer that reads nothing holds no more by this.
const MOST_BYTES: usize = 16 * 1024;

/// A stream whose bytes are sent by its [`Outlet`], or when it ends.
pub(super) struct Gathered<S>(Arc<Mutex<Gathering<S>>>);

/// Sends what was gathered.
pub(super) struct Outlet<S>(Arc<Mutex<Gathering<S>>>);

struct Gathering<S> {
    stream: S,
    unsent: Vec<u8>,
    /// How many of the unsent bytes are sent already.
    sent: usize,
    /// How many were ever received.
    received: u64,
}

/// A stream in two halves: one for the library, one for whoever looks after it.
/// Both belong to one task, so neither ever waits for the other.
pub(super) fn gather<S>(stream: S) -> (Gathered<S>, Outlet<S>) {
    let shared =
        Arc::new(Mutex::new(Gathering { stream, unsent: Vec::new(), sent: 0, received: 0 }));
    (Gathered(Arc::clone(&shared)), Outlet(shared))
}

fn lock<S>(shared: &Mutex<Gathering<S>>) -> MutexGuard<'_, Gathering<S>> {
    // Whoever panicked under it ended the connection.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncWrite + Unpin> Outlet<S> {
    /// Sends everything, what a layer below has kept too. Call it whenever the library
    /// has done what it can.
    pub(super) fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = lock(&self.0);
        ready!(gathering.poll_send(context))?;
        Pin::new(&mut gathering.stream).poll_flush(context)
    }
}

impl<S> Outlet<S> {
    /// How many bytes the stream has received; those of a handshake below it are not
    /// among them.
    pub(super) fn received(&self) -> u64 {
        lock(&self.0).received
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.sent = 0;
        drop(mem::take(&mut self.unsent));
        Poll::Ready(Ok(()))
    }

    /// Takes all of the slices, or sends them itself where they are many bytes.
    fn poll_take(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.unsent.len() + bytes > MOST_BYTES {
            ready!(self.poll_send(context))?;
        }
        if bytes > MOST_BYTES {
            return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        }
        if self.unsent.capacity() == 0 {
            self.unsent.reserve_exact(MOST_BYTES);
        }
        slices.iter().for_each(|slice| self.unsent.extend_from_slice(slice));
        Poll::Ready(Ok(bytes))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut gathering = lock(&self.0);
        let before = buffer.filled().len();
        let answer = Pin::new(&mut gathering.stream).poll_read(context, buffer);
        gathering.received += (buffer.filled().len() - before) as u64;
        answer
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(context, &[IoSlice::new(bytes)])
    }

    /// The outlet sends; see there.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = lock(&self.0);
        ready!(gathering.poll_send(context))?;
        Pin::new(&mut gathering.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_are_sent_by_the_outlet_in_order_however_slowly_they_are_read() {
        let (here, mut peer) = duplex(1_000);
        let (mut stream, outlet) = gather(here);
        let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
        let expected = bytes.clone();
        let reader = tokio::spawn(async move {
            let mut read = Vec::new();
            peer.read_to_end(&mut read).await.unwrap();
            read
        });
        let (few, many) = bytes.split_at(40_000);
        for piece in few.chunks(700) {
            stream.write_all(piece).await.unwrap();
            stream.flush().await.unwrap();
        }
        poll_fn(|context| outlet.poll_send(context)).await.unwrap();
        stream.write_all(many).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(reader.await.unwrap(), expected);
    }

    #[tokio::test]
    async fn what_a_layer_below_has_kept_is_sent_too() {
        let (here, mut peer) = duplex(1_000);
        let (mut stream, outlet) = gather(tokio::io::BufWriter::new(here));
        stream.write_all(b"all of it").await.unwrap();
        poll_fn(|context| outlet.poll_send(context)).await.unwrap();
        let mut read = [0; 9];
        peer.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"all of it");
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_stops_the_writer_and_holds_little() {
        let (here, _peer) = duplex(10);
        let (mut stream, outlet) = gather(here);
        let mut taken = 0;
        let mut write = |stream: &mut Gathered<_>, context: &mut Context<'_>| {
            while Pin::new(&mut *stream).poll_write(context, &[0; 1_000]).is_ready() {
                taken += 1_000;
                assert!(taken <= MOST_BYTES, "no more is taken than may be held");
            }
            Poll::Ready(())
        };
        poll_fn(|context| write(&mut stream, context)).await;
        let polled = poll_fn(|context| Poll::Ready(outlet.poll_send(context))).await;
        assert!(polled.is_pending());
    }
}
