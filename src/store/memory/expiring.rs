//! A bounded table of marks that end.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use crate::{clock::Timestamp, mark::Mark};

/// How many ended marks each new one clears away at most: more than one, so
/// that what has ended never piles up, and few, so that no call pays for all.
const CLEARED_PER_ENTRY: usize = 2;

/// When a mark ceases to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// At this moment: it counts before, and no more from then on.
    At(Timestamp),
    /// It counts for good.
    Never,
}

impl End {
    fn passed(self, now: Timestamp) -> bool {
        match self {
            Self::At(end) => end <= now,
            Self::Never => false,
        }
    }
}

/// Values by mark, each with an end, at most so many at a time.
///
/// An end may become later, never sooner. `queue` has exactly one entry for each
/// mark that ends, under an end that is no later than the mark's own: it is put
/// right when it comes up.
pub(super) struct Expiring<V> {
    most: usize,
    entries: HashMap<Mark, (V, End)>,
    queue: BinaryHeap<Reverse<(Timestamp, Mark)>>,
    /// The latest end of a mark that was cleared away.
    forgotten: Option<Timestamp>,
}

/// The table is full of marks that still count.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// The earliest moment at which one of them may end.
    pub(super) until: Option<Timestamp>,
}

impl<V> Expiring<V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, entries: HashMap::new(), queue: BinaryHeap::new(), forgotten: None }
    }

    /// Whether a mark with this end, had it been set, would still be here. It
    /// would be whatever the present moment is, unless a clock was put back, or
    /// the call that asks read it before others went on: then it may have been
    /// cleared away, although it counts at that call's moment.
    pub(super) fn remembers(&self, end: End) -> bool {
        match (end, self.forgotten) {
            (End::At(end), Some(forgotten)) => end > forgotten,
            (End::Never, _) | (End::At(_), None) => true,
        }
    }

    /// The value and the end of a mark that counts at `now`.
    pub(super) fn live(&self, mark: &Mark, now: Timestamp) -> Option<(&V, End)> {
        self.entries.get(mark).filter(|(_, end)| !end.passed(now)).map(|(value, end)| (value, *end))
    }

    /// Makes room for so many new marks, by clearing away what has ended.
    pub(super) fn make_room(&mut self, wanted: usize, now: Timestamp) -> Result<(), Full> {
        while self.entries.len().saturating_add(wanted) > self.most {
            if !self.clear_one(now) {
                return Err(Full { until: self.queue.peek().map(|Reverse((end, _))| *end) });
            }
        }
        Ok(())
    }

    /// Sets a mark. One that counts already keeps the later of both ends.
    /// The caller made room before.
    pub(super) fn set(&mut self, mark: Mark, value: V, end: End, now: Timestamp) {
        for _ in 0..CLEARED_PER_ENTRY {
            if !self.clear_one(now) {
                break;
            }
        }
        let before = self.entries.get(&mark).map(|(_, end)| *end);
        let end = before.map_or(end, |before| before.max(end));
        match (before, end) {
            // Its place in the queue stands.
            (Some(End::At(_)), _) | (_, End::Never) => {}
            (None | Some(End::Never), End::At(moment)) => self.queue.push(Reverse((moment, mark))),
        }
        self.entries.insert(mark, (value, end));
    }

    /// Takes one mark out of the queue whose time has come, and clears it away
    /// or puts it back under its later end. False where none has.
    fn clear_one(&mut self, now: Timestamp) -> bool {
        let Some(Reverse((due, mark))) = self.queue.peek().copied() else { return false };
        if due > now {
            return false;
        }
        self.queue.pop();
        match self.entries.get(&mark) {
            Some((_, End::At(end))) if *end > now => self.queue.push(Reverse((*end, mark))),
            Some((_, End::Never)) | None => {}
            Some((_, End::At(end))) => {
                self.forgotten = self.forgotten.max(Some(*end));
                self.entries.remove(&mark);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(n: u32) -> Mark {
        Mark::redeemed("https://issuer.example", &n.to_string())
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_mark_counts_until_its_end_and_not_at_it() {
        let mut table = Expiring::new(9);
        table.set(mark(1), (), End::At(at(10)), at(0));
        assert!(table.live(&mark(1), at(10).minus(std::time::Duration::from_micros(1))).is_some());
        assert!(table.live(&mark(1), at(10)).is_none());
    }

    #[test]
    fn full_of_marks_that_count_it_has_no_room_and_says_when_it_may() {
        let mut table = Expiring::new(2);
        table.set(mark(1), (), End::At(at(20)), at(0));
        table.set(mark(2), (), End::At(at(10)), at(0));
        assert_eq!(table.make_room(1, at(9)), Err(Full { until: Some(at(10)) }));
        assert_eq!(table.make_room(1, at(10)), Ok(()));
        assert!(table.live(&mark(1), at(10)).is_some());
    }

    #[test]
    fn an_end_becomes_later_and_never_sooner() {
        let mut table = Expiring::new(1);
        table.set(mark(1), (), End::At(at(10)), at(0));
        table.set(mark(1), (), End::At(at(30)), at(0));
        table.set(mark(1), (), End::At(at(20)), at(0));
        assert_eq!(table.make_room(1, at(29)), Err(Full { until: Some(at(30)) }));
        table.set(mark(1), (), End::Never, at(0));
        assert_eq!(table.make_room(1, at(1_000)), Err(Full { until: None }));
        table.set(mark(1), (), End::At(at(2_000)), at(1_000));
        assert!(table.live(&mark(1), at(9_000)).is_some());
    }

    #[test]
    fn what_may_have_been_cleared_away_is_not_remembered() {
        let mut table = Expiring::new(9);
        table.set(mark(1), (), End::At(at(10)), at(0));
        table.set(mark(2), (), End::At(at(20)), at(0));
        assert!(table.remembers(End::At(at(1))), "nothing was cleared away");
        table.set(mark(3), (), End::At(at(30)), at(15));
        assert!(!table.remembers(End::At(at(10))));
        assert!(table.remembers(End::At(at(11))));
        assert!(table.remembers(End::Never));
    }

    #[test]
    fn what_has_ended_does_not_pile_up() {
        let mut table = Expiring::new(1_000_000);
        for n in 0..1_000_u32 {
            let now = at(i64::from(n));
            table.set(mark(n), (), End::At(at(i64::from(n) + 10)), now);
            table.set(mark(n), (), End::At(at(i64::from(n) + 11)), now);
        }
        assert!(table.entries.len() <= 12, "{}", table.entries.len());
        assert_eq!(table.entries.len(), table.queue.len());
    }
}
