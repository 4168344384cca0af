//! A connection's stream, read when it is the connection's turn.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::pace::{Turn, Unread};

/// A stream that is left unread while its core does better with others.
pub(super) struct Paced {
    stream: TcpStream,
    turn: Turn,
    unread: Option<(Unread, Pin<Box<Sleep>>)>,
}

impl Paced {
    pub(super) const fn new(stream: TcpStream, turn: Turn) -> Self {
        Self { stream, turn, unread: None }
    }

    /// Ready once the stream may be read.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.unread.is_none() {
            let now = Instant::now();
            self.unread = self.turn.unread(now).map(|it| (it, Box::pin(sleep_until(now))));
        }
        while let Some((unread, look)) = &mut self.unread {
            ready!(look.as_mut().poll(context));
            match self.turn.look(*unread, Instant::now()) {
                Some(next) => look.as_mut().reset(next),
                None => self.unread = None,
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_turn(context));
        let answer = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.turn.read(answer.is_pending());
        answer
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
