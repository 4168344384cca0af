//! The configuration's file, looked at again and again while the service runs: who
//! may call is taken from it without a restart, and nothing else.

use std::convert::Infallible;

use tokio::time::{MissedTickBehavior, interval};

use super::{KEYRING_INTERVAL, parts};
use crate::{
    config::{Callers, Source},
    grpc::SharedCallers,
};

/// The callers that calls are held against, and the file that they came from.
pub(super) struct CallerFile {
    source: Source,
    callers: SharedCallers,
    held: Callers,
    /// The file as it was when all was well with it.
    seen: Option<Vec<u8>>,
    /// What was wrong the last time: a mistake that stays is told once.
    told: String,
}

/// What there is to tell.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// Nothing that wasn't known.
    Same,
    /// Other callers, against which calls are held now.
    Changed,
    /// They can't be taken, for another reason than the last time.
    Mistaken(String),
}

impl CallerFile {
    pub(super) fn new(source: Source, callers: SharedCallers, held: Callers) -> Self {
        Self { source, callers, held, seen: None, told: String::new() }
    }

    /// Takes every change of the callers, as often as the keyring's folder is looked at.
    pub(super) async fn watch(mut self) -> Infallible {
        let mut ticks = interval(KEYRING_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.look() {
                Look::Same => {}
                Look::Changed => {
                    tracing::info!("the callers changed; what else did needs a restart");
                }
                Look::Mistaken(mistakes) => {
                    tracing::error!(%mistakes, "the configuration can't be read again; the callers in memory stay");
                }
            }
        }
    }

    fn look(&mut self) -> Look {
        let text = self.source.text();
        if self.seen.as_ref() == Some(&text) {
            self.told.clear();
            return Look::Same;
        }
        match self.taken() {
            Ok(look) => {
                self.seen = Some(text);
                self.told.clear();
                look
            }
            Err(mistakes) if mistakes == self.told => Look::Same,
            Err(mistakes) => {
                self.told.clone_from(&mistakes);
                Look::Mistaken(mistakes)
            }
        }
    }

    /// Whether callers come from the configuration, or from a mesh that decides, is
    /// settled when the port is opened.
    fn taken(&mut self) -> Result<Look, String> {
        let fresh = self.source.callers().map_err(|mistakes| mistakes.to_string())?;
        if fresh == self.held {
            return Ok(Look::Same);
        }
        match (&self.held, &fresh) {
            (Callers::Known(_), Callers::Known(_)) => {
                self.callers.replace(parts::callers(&fresh));
                self.held = fresh;
                Ok(Look::Changed)
            }
            _ => Err("callers: the first one comes, and the last one goes, with a restart".into()),
        }
    }
}
