//! Files that a configuration names: read whole, with a bound.

use std::{fs, io, io::Read as _, path::Path};

use zeroize::Zeroizing;

/// The file, or one byte more than `max`.
pub(super) fn content(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    read(path, max, &mut content)?;
    Ok(content)
}

/// The same for a file that holds a secret, which is wiped when dropped. Read
/// into one buffer, so that no copy of it is left behind by a growing one.
pub(super) fn secret(path: &Path, max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::with_capacity(max + 64));
    read(path, max, &mut content)?;
    Ok(content)
}

fn read(path: &Path, max: usize, into: &mut Vec<u8>) -> io::Result<()> {
    // Asked before it is opened: opening a pipe waits for whoever writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    fs::File::open(path)?.take(max as u64 + 1).read_to_end(into).map(drop)
}
