//! `mintage keys`: new master keys.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Subcommand;
use zeroize::Zeroizing;

use crate::{
    macaroon::{KeyId, MasterKey},
    world,
};

use super::{Failed, print};

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// Make a master key and print its id, and nothing else.
    ///
    /// The key is a new file of that name, 32 random bytes in base64, readable by
    /// you alone; no file is ever overwritten. To change keys: make one, wait
    /// until every replica has read it, then name it in the configuration as
    /// keyring.current. Take the old file away when its last token has ended.
    Generate {
        /// The keyring's folder; made if it isn't there.
        #[arg(long, value_name = "DIR")]
        directory: PathBuf,
    },
}

impl KeysCommand {
    pub(super) fn run(self) -> Result<(), Failed> {
        match self {
            Self::Generate { directory } => {
                let id = generate(&directory)?;
                print(&format!("{id}\n"))
            }
        }
    }
}

/// Letters of a key id's end: 32 that nobody mistakes for another.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz234567890";

fn generate(directory: &Path) -> Result<KeyId, Failed> {
    let no_chance = || Failed::one("the system has no random bytes to give");
    let letters: [u8; 4] = world::random().ok_or_else(no_chance)?;
    let id = new_id(letters).ok_or_else(|| Failed::one("the system's clock is out of range"))?;
    let bytes: Zeroizing<[u8; MasterKey::MIN_BYTES]> =
        Zeroizing::new(world::random().ok_or_else(no_chance)?);
    let text = Zeroizing::new(STANDARD.encode(*bytes) + "\n");
    write_new(directory, &id, text.as_bytes()).map_err(|error| {
        Failed::one(format!("{}: no key could be written: {error}", directory.display()))
    })?;
    Ok(id)
}

/// The day and four letters: `2026-11-21-k3fz`.
fn new_id(random: [u8; 4]) -> Option<KeyId> {
    let today = jiff::Timestamp::from_second(world::now().seconds()).ok()?;
    let letters: String = random
        .iter()
        .filter_map(|byte| LETTERS.get(usize::from(byte % 32)).copied().map(char::from))
        .collect();
    KeyId::parse(&format!("{}-{letters}", today.strftime("%Y-%m-%d"))).ok()
}

/// Writes a file that wasn't there. It gets its name when it is complete, so
/// that a service that watches the folder never reads half a key.
fn write_new(directory: &Path, id: &KeyId, content: &[u8]) -> io::Result<()> {
    private_folder(directory)?;
    let draft = directory.join(format!(".{id}.new"));
    let written = private_file(&draft).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    let named = written.and_then(|()| fs::hard_link(&draft, directory.join(id.as_str())));
    // The key has its name, or there is none: either way the draft goes.
    let removed = fs::remove_file(&draft);
    named.and(removed)
}

fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

fn private_file(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(path)
}
