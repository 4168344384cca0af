//! Writes log lines, away from the threads that serve.
//!
//! A system call for each line is most of what a line costs, and a reader that
//! stands still would hold up every call. So lines are gathered in memory, and one
//! thread writes what there is, a few hundred times a second at most.
//!
//! At the end everything is written that was logged before; a process that is
//! killed outright takes the last two milliseconds with it. Where nobody reads,
//! calls wait a moment for room, once; after that lines are lost, counted, and told
//! as soon as somebody reads again.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that come within so long after the first one are written with it.
const GATHERED_FOR: Duration = Duration::from_millis(2);

/// Lines that wait have at most so many bytes, and those that are being written as
/// many again: a quarter of a second of all that two cores can answer.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A buffer that has grown beyond is given back.
const KEPT_BYTES: usize = 64 * 1024;

/// A call waits for a reader at most so long. One that needs longer stands still.
const PATIENCE: Duration = Duration::from_millis(100);

/// The end of the process waits at most so long for a reader.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// Lines that this process has lost. The log is the process's, and so is their number.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines of the log were lost since the process began.
pub fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Where lines are gathered. Its clones share it.
#[derive(Clone, Debug)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// There is something to write, or it must be written now.
    to_write: Condvar,
    /// Something was written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// What was taken out of `waiting` isn't written yet.
    writing: bool,
    /// Nobody has to be woken for what doesn't wait for the writer's moment.
    gathering: bool,
    /// Whoever waits for the lines to be written.
    hurried: bool,
    ended: bool,
    lost: u64,
    /// A call has waited in vain; until there is room again no other does.
    stuck: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock leaves the state half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line.
    fn take(&self, line: &[u8]) {
        let mut state = self.lock();
        if !state.has_room(line) && !state.stuck {
            let full = |state: &mut State| !state.has_room(line);
            let waited = self.written.wait_timeout_while(state, PATIENCE, full);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.stuck = !state.has_room(line);
        if state.stuck {
            state.lost += 1;
            LOST.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.waiting.extend_from_slice(line);
        if !mem::replace(&mut state.gathering, true) {
            self.to_write.notify_all();
        }
    }

    /// Waits until everything is written, but not for long.
    fn flush(&self, patience: Duration) {
        let mut state = self.lock();
        state.hurried = true;
        self.to_write.notify_all();
        let unwritten = |state: &mut State| state.writing || !state.waiting.is_empty();
        let waited = self.written.wait_timeout_while(state, patience, unwritten);
        waited.unwrap_or_else(PoisonError::into_inner).0.hurried = false;
    }

    /// The writing thread, until everything has ended.
    fn write_to(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        loop {
            let lost = {
                let mut state = self.next(self.lock());
                if state.waiting.is_empty() && state.ended {
                    return;
                }
                state.gathering = false;
                state.writing = true;
                mem::swap(&mut state.waiting, &mut batch);
                mem::take(&mut state.lost)
            };
            // A reader that is gone reads nothing any more, and nobody else can be told.
            let _ = out.write_all(&batch).and_then(|()| out.flush());
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
            self.lock().writing = false;
            self.written.notify_all();
            if lost > 0 {
                tracing::error!(lost, "lines of this log were lost, because nobody read it");
            }
        }
    }

    /// Waits for the first line, and a moment for others.
    fn next<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let idle = |state: &mut State| state.waiting.is_empty() && !state.ended;
        let state = self.to_write.wait_while(state, idle);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let calm = |state: &mut State| !state.hurried && !state.ended;
        let waited = self.to_write.wait_timeout_while(state, GATHERED_FOR, calm);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl State {
    fn has_room(&self, line: &[u8]) -> bool {
        self.waiting.len() + line.len() <= MOST_BYTES
    }
}

/// Writes lines for as long as it lives; dropped, it writes the rest.
#[derive(Debug)]
pub(super) struct Writing(Lines);

impl Writing {
    /// Starts the thread that writes.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Lines(Arc::default());
        let shared = Arc::clone(&lines.0);
        let thread = thread::Builder::new().name("mintage-log".to_owned());
        thread.spawn(move || shared.write_to(out))?;
        Ok(Self(lines))
    }

    pub(super) fn lines(&self) -> Lines {
        self.0.clone()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.0.flush(END_PATIENCE);
        self.0.0.lock().ended = true;
        self.0.0.to_write.notify_all();
    }
}

impl Lines {
    /// Waits until everything is written that was logged before, but not for long.
    pub(super) fn flush(&self) {
        self.0.flush(PATIENCE);
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Shared;

    fn make_writer(&'a self) -> &'a Shared {
        &self.0
    }
}

/// A line comes in one piece.
impl Write for &Shared {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.take(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A reader that reads a write whenever the test lets it.
    struct Slow {
        let_through: mpsc::Receiver<()>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once the test has let go of it, it reads everything.
            let _ = self.let_through.recv();
            self.read.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Writing, mpsc::Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (let_through, waits) = mpsc::channel();
        let read = Arc::new(Mutex::new(Vec::new()));
        let out = Slow { let_through: waits, read: Arc::clone(&read) };
        (Writing::start(out).unwrap(), let_through, read)
    }

    #[test]
    fn everything_is_written_in_order_by_the_end() {
        let (writing, let_through, read) = slow();
        drop(let_through);
        for number in 0..10_000 {
            writing.lines().0.take(format!("{number}\n").as_bytes());
        }
        drop(writing);
        let read = String::from_utf8(read.lock().unwrap().clone()).unwrap();
        assert!(read.lines().map(|line| line.parse::<i32>().unwrap()).eq(0..10_000));
    }

    #[test]
    fn a_reader_that_stands_still_loses_lines_and_holds_up_nobody() {
        let (writing, let_through, read) = slow();
        let line = [b'x'; 1024];
        let shared = &writing.lines().0;
        // More than twice what can wait, and only the first one beyond waits for room.
        for _ in 0..3 * MOST_BYTES / line.len() {
            shared.take(&line);
        }
        let lost = shared.lock().lost;
        assert!(lost > 0 && shared.lock().stuck);
        // No other test here loses any.
        assert_eq!(lines_lost(), lost);
        drop(let_through);
        drop(writing);
        let kept = read.lock().unwrap().len() / line.len();
        assert_eq!(kept + usize::try_from(lost).unwrap(), 3 * MOST_BYTES / line.len());
        assert!(kept * line.len() <= 2 * MOST_BYTES);
    }
}
