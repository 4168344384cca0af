//! State cut into parts with a lock each, so that calls about different marks
//! seldom meet, and so that a growing table stops only its own part.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::mark::Mark;

/// The parts. Which one a mark lies in is told by a hash that differs from
/// process to process, so that nobody can choose marks that crowd one part.
pub(super) struct Shards<T> {
    parts: Box<[Mutex<T>]>,
    hasher: RandomState,
}

impl<T> Shards<T> {
    /// As many parts as asked for; at least one.
    pub(super) fn new(count: usize, part: impl Fn() -> T) -> Self {
        let parts = (0..count.max(1)).map(|_| Mutex::new(part())).collect();
        Self { parts, hasher: RandomState::new() }
    }

    /// Locks the parts of all these marks at once. They are locked in one order
    /// by everybody, so that no two calls wait for each other.
    pub(super) fn lock<'a>(&self, marks: impl Iterator<Item = &'a Mark>) -> Locked<'_, T> {
        let mut wanted: Vec<usize> = marks.map(|mark| self.position(mark)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let guards = wanted
            .into_iter()
            .filter_map(|position| {
                // No code under these locks panics; and were it to, each step
                // leaves a state that the next call can go on from.
                let part = self.parts.get(position)?;
                Some((position, part.lock().unwrap_or_else(PoisonError::into_inner)))
            })
            .collect();
        Locked { shards: self, guards }
    }

    #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
    fn position(&self, mark: &Mark) -> usize {
        self.hasher.hash_one(mark) as usize % self.parts.len()
    }
}

/// Parts that this call alone may touch until it lets go.
pub(super) struct Locked<'a, T> {
    shards: &'a Shards<T>,
    guards: Vec<(usize, MutexGuard<'a, T>)>,
}

impl<T> Locked<'_, T> {
    /// The part of one of the marks that were locked.
    #[expect(
        clippy::expect_used,
        reason = "asking for a mark that was not locked is a defect here"
    )]
    pub(super) fn part(&mut self, mark: &Mark) -> &mut T {
        let position = self.shards.position(mark);
        self.guards
            .iter_mut()
            .find_map(|(held, guard)| (*held == position).then_some(&mut **guard))
            .expect("the part of this mark was locked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_the_same_part_are_locked_once_and_found_again() {
        let shards = Shards::new(2, || 0_u32);
        let marks: Vec<Mark> =
            (0..20).map(|n| Mark::redeemed("https://issuer.example", &n.to_string())).collect();
        let mut locked = shards.lock(marks.iter());
        assert_eq!(locked.guards.len(), 2);
        for mark in &marks {
            *locked.part(mark) += 1;
        }
        let counts: Vec<u32> = locked.guards.iter().map(|(_, guard)| **guard).collect();
        assert_eq!(counts.iter().sum::<u32>(), 20);
    }
}
