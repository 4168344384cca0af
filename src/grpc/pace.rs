//! How much a core takes in, and which of its connections it reads.
//!
//! Where more comes in than a core can do, calls are refused at once. But a refusal costs
//! a fifth of a Mint and half of a Verify, and whoever is refused may ask again at once:
//! at twice the load a core would spend much of its time on refusing, at ten times nearly
//! all of it. So refusals have a pace. Where they come faster, a connection on which one
//! was refused is left unread for a while: what waits there costs nothing, the peer's own
//! flow control holds the rest back, and the other connections are answered as fast as
//! ever. What has waited there when its time comes is refused: fresh calls are answered
//! instead, on which nobody has given up yet.
//!
//! A core is overloaded once it has not been idle for [`BUSY`], and until it has room.
//! At other times a lot that comes at once is a burst, after a stall of the machine or of
//! the network, and is answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// A core that has been busy for so long is overloaded.
const BUSY: Duration = Duration::from_millis(80);

/// Calls that wait for nothing but their core, where that is overloaded; one more is
/// refused. It does them in 3 to 10 ms: longer than that nobody waits in front of it.
const MOST_WAITING: usize = 256;

/// Calls that have not ended there, whatever they wait for; one more is refused.
const MOST_UNDER_WAY: usize = 512;

/// As many may wait for their core at another time.
const MOST_AT_ONCE: usize = 1_024;

/// A core that waited for so long had nothing to do; waiting for less, it only looked
/// whether there was more.
const PAUSE: Duration = Duration::from_micros(100);

/// Each refusal may be followed by the next after so long: 2,500 a second, which take two
/// hundredths of a core.
const INTERVAL: Duration = Duration::from_micros(400);

/// So many may come at once.
const BURST: Duration = INTERVAL.saturating_mul(256);

/// When connections that were left unread are read again, one after the other: as many
/// calls as a peer may have under way wait on each, and all of them may be refused.
const APART: Duration = INTERVAL.saturating_mul(128);

/// No connection is left unread for longer, so that nobody takes the service for dead.
const LONGEST: Duration = Duration::from_secs(1);

/// After so many milliseconds it is looked whether the core has room again, now sooner,
/// now later, so that connections don't all look at once.
const LOOK_AGAIN: [u64; 8] = [2, 7, 4, 9, 3, 8, 5, 6];

/// A core has room where it was idle for a twentieth of so long…
const WINDOW: Duration = Duration::from_millis(50);

/// …and then so many connections are read again before it is their time.
const EARLY: usize = 8;

/// The pace of one core. Its clones are about the same core.
///
/// One thread does all that is done with it; the atomics are there because the compiler
/// can't know.
#[derive(Clone, Debug)]
pub struct Pace(Arc<State>);

/// Moments are durations since the core began.
#[derive(Debug)]
struct State {
    began: Instant,
    /// Calls that were taken in and have not begun.
    waiting: AtomicUsize,
    /// Those that have not ended.
    under_way: AtomicUsize,
    /// When all refusals so far are paid for.
    paid: Moment,
    /// When the last of the connections that are left unread is to be read again.
    last: Moment,
    /// When the core began to wait for something to do, and when it last had nothing.
    parked: Moment,
    idle: Moment,
    overloaded: AtomicBool,
    looks: AtomicUsize,
    window: Window,
}

/// What a core had to do of late.
#[derive(Debug, Default)]
struct Window {
    number: AtomicU64,
    /// How long it had nothing to do in it, and in the one before.
    idle: Moment,
    before: Moment,
    /// Connections that were read again early in it.
    early: AtomicUsize,
}

impl Pace {
    /// Of a core that has done nothing yet.
    pub fn new(now: Instant) -> Self {
        Self(Arc::new(State {
            began: now,
            waiting: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            paid: Moment::default(),
            last: Moment::default(),
            parked: Moment::default(),
            idle: Moment::default(),
            overloaded: AtomicBool::new(false),
            looks: AtomicUsize::new(0),
            window: Window::default(),
        }))
    }

    /// The core begins to wait for something to do.
    pub fn parked(&self, now: Instant) {
        self.0.parked.set(self.since_began(now));
    }

    /// There is something to do.
    pub fn unparked(&self, now: Instant) {
        let now = self.since_began(now);
        let idle = now.saturating_sub(self.0.parked.get());
        if idle >= PAUSE {
            self.0.idle.set(now);
            let window = self.window(now);
            window.idle.set(window.idle.get() + idle);
            if idle >= WINDOW {
                // The windows before this one went by in it.
                window.before.set(idle);
            }
        }
    }

    /// A connection of this core.
    pub(super) fn turn(&self) -> Turn {
        Turn { pace: self.clone(), state: Arc::default() }
    }

    fn is_overloaded(&self, now: Duration) -> bool {
        if now > self.0.idle.get() + BUSY {
            self.0.overloaded.store(true, Ordering::Relaxed);
        } else if self.has_room(now) {
            self.0.overloaded.store(false, Ordering::Relaxed);
        }
        self.0.overloaded.load(Ordering::Relaxed)
    }

    /// Whether the core has had room of late.
    fn has_room(&self, now: Duration) -> bool {
        self.window(now).before.get() >= WINDOW / 20
    }

    /// Whether the core is behind by more refusals than it can afford.
    fn is_exceeded(&self, now: Duration) -> bool {
        self.0.paid.get() > now + BURST
    }

    /// Books the next time at which a connection is read again.
    fn book(&self, now: Duration) -> Duration {
        let until = (self.0.last.get().max(now) + APART).min(now + LONGEST);
        self.0.last.set(until);
        until
    }

    /// Whether there is room for another connection to be read, which takes it.
    fn take_room(&self, now: Duration) -> bool {
        let early = self.window(now).early.load(Ordering::Relaxed);
        let room = early < EARLY && !self.is_overloaded(now) && self.has_room(now);
        if room {
            self.0.window.early.store(early + 1, Ordering::Relaxed);
        }
        room
    }

    /// The window of this moment.
    fn window(&self, now: Duration) -> &Window {
        let window = &self.0.window;
        let number = u64::try_from(now.as_micros() / WINDOW.as_micros()).unwrap_or(u64::MAX);
        let last = window.number.load(Ordering::Relaxed);
        if last != number {
            window.number.store(number, Ordering::Relaxed);
            let idle = if last + 1 == number { window.idle.get() } else { Duration::ZERO };
            window.before.set(idle);
            window.idle.set(Duration::ZERO);
            window.early.store(0, Ordering::Relaxed);
        }
        window
    }

    fn look_again(&self) -> Duration {
        let look = self.0.looks.fetch_add(1, Ordering::Relaxed) % LOOK_AGAIN.len();
        Duration::from_millis(LOOK_AGAIN.get(look).copied().unwrap_or(1))
    }

    fn since_began(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.0.began)
    }
}

/// One connection's share in its core. Its clones are about the same connection.
#[derive(Clone, Debug)]
pub struct Turn {
    pace: Pace,
    state: Arc<TurnState>,
}

#[derive(Debug, Default)]
struct TurnState {
    /// A call was refused on it since it was left unread the last time.
    refused: AtomicBool,
    /// What is read now has waited while the connection was left unread.
    stale: AtomicBool,
    /// There may be more to read of what has come.
    more: AtomicBool,
}

/// A call's place in front of its core, until it begins.
#[derive(Debug)]
pub(super) struct Waiting(Pace);

/// A call's place among all of its core's, until it ends.
#[derive(Debug)]
pub(super) struct UnderWay(Pace);

/// A connection that is left unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unread {
    until: Duration,
}

impl Turn {
    /// Takes a call in. None: it is to be refused.
    pub(super) fn admit(&self, now: Instant) -> Option<(Waiting, UnderWay)> {
        let pace = &self.pace;
        let waiting = pace.0.waiting.load(Ordering::Relaxed);
        let under_way = pace.0.under_way.load(Ordering::Relaxed);
        if waiting >= MOST_WAITING || under_way >= MOST_UNDER_WAY {
            let overloaded = pace.is_overloaded(pace.since_began(now));
            if overloaded || waiting >= MOST_AT_ONCE {
                return None;
            }
        }
        if self.state.stale.load(Ordering::Relaxed) {
            return None;
        }
        pace.0.waiting.store(waiting + 1, Ordering::Relaxed);
        pace.0.under_way.store(under_way + 1, Ordering::Relaxed);
        Some((Waiting(pace.clone()), UnderWay(pace.clone())))
    }

    /// A call was refused. One that had waited unread is no reason to leave its connection
    /// unread again.
    pub(super) fn refused(&self, now: Instant) {
        let now = self.pace.since_began(now);
        let paid = &self.pace.0.paid;
        paid.set((paid.get().max(now) + INTERVAL).min(now + BURST + LONGEST));
        if !self.state.stale.load(Ordering::Relaxed) {
            self.state.refused.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the connection should be left unread now, and for how long at most: never
    /// before all is read that had come, so that no call stays behind of which a part
    /// was read.
    pub(super) fn unread(&self, now: Instant) -> Option<Unread> {
        let more = self.state.more.load(Ordering::Relaxed);
        if more || !self.state.refused.load(Ordering::Relaxed) {
            return None;
        }
        let now = self.pace.since_began(now);
        self.state.refused.store(false, Ordering::Relaxed);
        let unread = self.pace.is_overloaded(now) && self.pace.is_exceeded(now);
        unread.then(|| Unread { until: self.pace.book(now) })
    }

    /// When to look again at a connection that is left unread. None: it may be read.
    pub(super) fn look(&self, unread: Unread, now: Instant) -> Option<Instant> {
        let passed = self.pace.since_began(now);
        let its_time = passed >= unread.until;
        if its_time || self.pace.take_room(passed) {
            // Where there is room, whoever has waited is answered.
            self.state.stale.store(its_time, Ordering::Relaxed);
            self.state.more.store(true, Ordering::Relaxed);
            return None;
        }
        Some((self.pace.0.began + unread.until).min(now + self.pace.look_again()))
    }

    /// Something was read that had come, or, where nothing was left, all had been. HTTP/2
    /// reads all there is before it hands out the calls in it: what comes after that is
    /// the first that is fresh.
    pub(super) fn read(&self, all: bool) {
        let more = self.state.more.swap(!all, Ordering::Relaxed);
        if !all && !more {
            self.state.stale.store(false, Ordering::Relaxed);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A duration in whole microseconds.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, to: Duration) {
        self.0.store(u64::try_from(to.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// A core, and a moment at which it has been busy for too long.
    fn overloaded() -> (Pace, Instant) {
        let start = Instant::now();
        let now = start + BUSY + MILLISECOND;
        (Pace::new(start), now)
    }

    /// Takes in so many calls, which begin when this is dropped.
    fn taken(turn: &Turn, calls: usize, now: Instant) -> Vec<(Waiting, UnderWay)> {
        let taken: Vec<_> = (0..calls).map_while(|_| turn.admit(now)).collect();
        assert_eq!(taken.len(), calls);
        taken
    }

    fn refuse(turn: &Turn, calls: usize, now: Instant) {
        (0..calls).for_each(|_| turn.refused(now));
    }

    /// More refusals than may come at once.
    const TOO_MANY: usize = 300;

    /// The core waits for something to do from then on for so long.
    fn idle(pace: &Pace, from: Instant, span: Duration) {
        pace.parked(from);
        pace.unparked(from + span);
    }

    #[test]
    fn a_burst_is_taken_in_and_an_overload_is_not() {
        let start = Instant::now();
        for (what, now, most) in [
            ("at the start", start, MOST_AT_ONCE),
            ("busy, and not yet for long", start + BUSY, MOST_AT_ONCE),
            ("busy for long", start + BUSY + MILLISECOND, MOST_WAITING),
        ] {
            let turn = Pace::new(start).turn();
            let taken = taken(&turn, most, now);
            assert!(turn.admit(now).is_none(), "{what}");
            drop(taken);
            assert!(turn.admit(now).is_some(), "{what}: all have begun");
        }
    }

    #[test]
    fn in_an_overload_calls_that_have_begun_count_until_they_end() {
        let (pace, now) = overloaded();
        let turn = pace.turn();
        let begun = |calls| taken(&turn, calls, now).into_iter().map(|(_, under_way)| under_way);
        let mut under_way: Vec<_> = begun(MOST_WAITING).collect();
        under_way.extend(begun(MOST_UNDER_WAY - MOST_WAITING));
        assert!(turn.admit(now).is_none());
        under_way.pop();
        assert!(turn.admit(now).is_some(), "one has ended");

        let calm = Pace::new(now).turn();
        let _under_way: Vec<_> =
            (0..2 * MOST_UNDER_WAY).map(|_| calm.admit(now).unwrap().1).collect();
        assert!(calm.admit(now).is_some(), "at another time they may be more");
    }

    #[test]
    fn an_overload_is_over_once_the_core_was_idle_for_a_twentieth_of_a_window() {
        let window = |number: u32| WINDOW * number;
        for (what, span, at_once, over) in [
            ("long enough", WINDOW / 20, false, true),
            ("not long enough", WINDOW / 20 - MILLISECOND, false, false),
            ("for long", WINDOW * 20, true, true),
        ] {
            let start = Instant::now();
            let pace = Pace::new(start);
            let turn = pace.turn();
            let before = start + window(10);
            let _taken = taken(&turn, MOST_WAITING, before);
            assert!(turn.admit(before).is_none());
            idle(&pace, before + MILLISECOND, span);
            let then = before + MILLISECOND + span;
            assert_eq!(turn.admit(then).is_some(), at_once, "{what}: at once");
            let after = then.max(start + window(11));
            assert_eq!(turn.admit(after).is_some(), over, "{what}");
        }
    }

    #[test]
    fn looking_for_more_is_not_being_idle() {
        let (pace, _) = overloaded();
        let start = pace.0.began;
        let turn = pace.turn();
        let mut now = start;
        while now < start + BUSY + MILLISECOND {
            idle(&pace, now, PAUSE - Duration::from_micros(1));
            now += PAUSE;
        }
        let _taken = taken(&turn, MOST_WAITING, now);
        assert!(turn.admit(now).is_none());
    }

    #[test]
    fn a_connection_is_left_unread_where_refusals_come_too_fast_and_only_then() {
        let (pace, now) = overloaded();
        let (one, other) = (pace.turn(), pace.turn());
        for turn in [&one, &other] {
            turn.read(true);
        }
        refuse(&one, 256, now);
        assert_eq!(one.unread(now), None, "so many may come at once");
        refuse(&one, TOO_MANY - 256, now);
        assert_eq!(other.unread(now), None, "nothing was refused there");
        one.read(false);
        assert_eq!(one.unread(now), None, "not all is read that has come");
        one.read(true);
        assert!(one.unread(now).is_some_and(|unread| one.look(unread, now).is_some()));
        assert_eq!(one.unread(now), None, "it was left unread for these refusals");

        let calm = Pace::new(now).turn();
        calm.read(true);
        refuse(&calm, TOO_MANY, now);
        assert_eq!(calm.unread(now), None, "a burst is no overload");
    }

    #[test]
    fn refusals_at_the_pace_leave_no_connection_unread() {
        let (pace, start) = overloaded();
        let turn = pace.turn();
        turn.read(true);
        for at in 0..10_000 {
            let now = start + INTERVAL * at;
            turn.refused(now);
            assert_eq!(turn.unread(now), None);
        }
    }

    #[test]
    fn connections_are_read_again_one_after_the_other_and_none_later_than_after_a_second() {
        let (pace, now) = overloaded();
        let mut times = Vec::new();
        for _ in 0..40 {
            let turn = pace.turn();
            turn.read(true);
            refuse(&turn, TOO_MANY, now);
            let unread = turn.unread(now).unwrap();
            times.push(pace.0.began + unread.until - now);
            assert!(turn.look(unread, now + LONGEST).is_none());
        }
        assert_eq!(times[..3], [APART, APART * 2, APART * 3]);
        assert_eq!(times[39], LONGEST);
        assert!(times.is_sorted());
    }

    #[test]
    fn what_has_waited_unread_is_refused_and_what_comes_after_it_is_not() {
        let (pace, now) = overloaded();
        let turn = pace.turn();
        turn.read(true);
        refuse(&turn, TOO_MANY, now);
        let unread = turn.unread(now).unwrap();
        let next = turn.look(unread, now).unwrap();
        assert!(next > now && next <= now + 10 * MILLISECOND, "it looks again soon");

        let due = pace.0.began + unread.until;
        assert_eq!(turn.look(unread, due), None);
        turn.read(false);
        assert!(turn.admit(due).is_none(), "it has waited");
        turn.refused(due);
        turn.read(false);
        turn.read(true);
        assert!(turn.admit(due).is_none(), "read before all had been");
        turn.refused(due);
        assert_eq!(turn.unread(due), None, "that is no reason to leave it unread again");
        turn.read(false);
        assert!(turn.admit(due).is_some(), "it came afterwards");
    }

    #[test]
    fn with_room_a_few_connections_are_read_early_and_all_they_have_is_answered() {
        let (pace, now) = overloaded();
        let turns: Vec<_> = (0..EARLY + 1).map(|_| pace.turn()).collect();
        let unread: Vec<_> = turns
            .iter()
            .map(|turn| {
                turn.read(true);
                refuse(turn, TOO_MANY, now);
                turn.unread(now).unwrap()
            })
            .collect();
        idle(&pace, now, WINDOW);
        let later = now + WINDOW;
        let (last, early) = turns.split_last().unwrap();
        for (turn, unread) in early.iter().zip(&unread) {
            assert_eq!(turn.look(*unread, later), None);
            turn.read(false);
            assert!(turn.admit(later).is_some());
        }
        assert!(last.look(unread[EARLY], later).is_some(), "not all at the same time");
    }
}
