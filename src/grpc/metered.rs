//! How many bytes of unfinished calls the process holds.
//!
//! Up to 4 MiB for each of a thousand calls would be 4 GiB, for whoever announces
//! so much and never sends it. So a call has its first bytes for nothing, and what
//! it sends beyond comes out of one purse for all; where that is empty, the call
//! is refused as one too many. An ordinary request never gets so far.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::{MAX_MESSAGE_BYTES, Rpc, instruments::Instruments, status};

/// What every call may send for nothing: an ID token, some publishers with their
/// projects.
const FREE_BYTES: usize = 8 * 1024;

/// What all calls together may hold beyond: sixteen of the largest requests at
/// once, or a hundred for 10,000 projects each.
const PURSE_BYTES: usize = 64 * 1024 * 1024;

/// The purse of a process.
#[derive(Clone, Debug)]
pub(super) struct Purse(Arc<AtomicUsize>);

impl Purse {
    /// A full one.
    pub(super) fn full() -> Self {
        Self(Arc::new(AtomicUsize::new(PURSE_BYTES)))
    }
}

/// What one call holds. Whoever has a share of it keeps it; the last one to drop
/// it gives everything back.
#[derive(Debug)]
pub(super) struct Held {
    purse: Purse,
    taken: AtomicUsize,
}

/// The purse is empty.
#[derive(Debug, PartialEq, Eq)]
struct Empty;

impl Held {
    /// A call that has sent nothing yet.
    pub(super) fn nothing(purse: &Purse) -> Arc<Self> {
        Arc::new(Self { purse: purse.clone(), taken: AtomicUsize::new(0) })
    }

    /// Takes what is missing for a call of so many bytes.
    fn raise_to(&self, bytes: usize) -> Result<(), Empty> {
        let taken = self.taken.load(Ordering::Relaxed);
        let missing = bytes.saturating_sub(FREE_BYTES).saturating_sub(taken);
        if missing > 0 {
            let take = |left: usize| left.checked_sub(missing);
            let left = self.purse.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
            left.map_err(|_| Empty)?;
            self.taken.store(taken + missing, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.purse.0.fetch_add(*self.taken.get_mut(), Ordering::Relaxed);
    }
}

/// How much a call is about to hold: what was received, or what its message was
/// announced to have, for which room is made as soon as that is known.
#[derive(Debug, Default)]
struct Size {
    /// One byte that says whether the message is compressed, four of its length.
    prefix: [u8; 5],
    received: usize,
}

impl Size {
    fn receive(&mut self, data: &[u8]) {
        let missing = self.prefix.iter_mut().skip(self.received);
        missing.zip(data).for_each(|(byte, received)| *byte = *received);
        self.received += data.len();
    }

    fn bytes(&self) -> usize {
        let [_, length @ ..] = self.prefix;
        match usize::try_from(u32::from_be_bytes(length)) {
            // One that is longer is refused as soon as its length is known.
            Ok(announced)
                if self.received >= self.prefix.len() && announced <= MAX_MESSAGE_BYTES =>
            {
                announced.max(self.received)
            }
            Ok(_) | Err(_) => self.received,
        }
    }
}

/// A request's body, every byte of which is counted.
#[derive(Debug)]
pub(crate) struct Metered<B> {
    body: B,
    size: Size,
    held: Arc<Held>,
    refusals: Refusals,
}

impl<B> Metered<B> {
    pub(super) fn new(body: B, held: Arc<Held>, refusals: Refusals) -> Self {
        Self { body, size: Size::default(), held, refusals }
    }
}

/// Where it is counted that a call of this kind is one too many.
#[derive(Clone, Debug)]
pub(super) struct Refusals {
    pub(super) instruments: Arc<Instruments>,
    pub(super) rpc: Option<Rpc>,
}

impl<B> Body for Metered<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    /// The library takes a status out of it again.
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        if let Some(data) = frame.data_ref() {
            self.size.receive(data);
        }
        Poll::Ready(Some(match self.held.raise_to(self.size.bytes()) {
            Ok(()) => Ok(frame),
            Err(Empty) => {
                self.refusals.instruments.overloaded(self.refusals.rpc);
                Err(status::overloaded().into())
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_pays_for_what_it_holds_beyond_its_first_bytes_and_gets_it_back() {
        let purse = Purse::full();
        let paid = || PURSE_BYTES - purse.0.load(Ordering::Relaxed);
        let held = Held::nothing(&purse);
        for (bytes, costs) in
            [(0, 0), (FREE_BYTES, 0), (FREE_BYTES + 1, 1), (FREE_BYTES + 1_001, 1_001), (5, 1_001)]
        {
            assert_eq!(held.raise_to(bytes), Ok(()));
            assert_eq!(paid(), costs, "{bytes} bytes");
        }
        let other = Held::nothing(&purse);
        assert_eq!(other.raise_to(FREE_BYTES + 7), Ok(()));
        assert_eq!(paid(), 1_008);
        drop((held, other));
        assert_eq!(paid(), 0);
    }

    #[test]
    fn an_empty_purse_refuses_and_takes_nothing() {
        let purse = Purse::full();
        let most = Held::nothing(&purse);
        assert_eq!(most.raise_to(FREE_BYTES + PURSE_BYTES), Ok(()));
        let poor = Held::nothing(&purse);
        assert_eq!(poor.raise_to(FREE_BYTES), Ok(()), "the first bytes are there for everybody");
        assert_eq!(poor.raise_to(FREE_BYTES + 1), Err(Empty));
        drop(most);
        assert_eq!(poor.raise_to(FREE_BYTES + 1), Ok(()));
    }

    #[test]
    fn a_message_counts_with_its_announced_length_as_soon_as_that_is_known() {
        for (pieces, expected) in [
            (&[&[][..]][..], 0),
            (&[&[0, 0, 1]], 3),
            (&[&[0, 0, 1], &[0]], 4),
            (&[&[0, 0, 1], &[0, 0]], 65_536),
            (&[&[0, 0, 1, 0, 0], &[9; 10]], 65_536),
            (&[&[0, 0, 0, 0, 3], &[9; 10]], 15),
            (&[&[0], &[0], &[0], &[1], &[2, 7]], 258),
            (&[&[0, 0, 64, 0, 0]], MAX_MESSAGE_BYTES),
            (&[&[0, 0, 64, 0, 1]], 5),
            (&[&[0, 255, 255, 255, 255, 1]], 6),
        ] {
            let mut size = Size::default();
            pieces.iter().for_each(|piece| size.receive(piece));
            assert_eq!(size.bytes(), expected, "{pieces:?}");
        }
    }
}
