//! A seed as text, to be kept with the mark of a redeemed ID token.
//!
//! It is what came from chance and the clock when a token was minted. Without the
//! master key nobody makes a token of it, and it names neither job nor project.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{clock::Timestamp, mark::Seed};

/// The form. Another one would get another number: replicas of two versions share
/// a store while they are being replaced.
const FORM: u8 = 1;

/// Writes a seed: form, moment, bits, key id; base64url.
pub(super) fn write(seed: &Seed) -> String {
    let mut bytes = vec![FORM];
    bytes.extend_from_slice(&seed.minted_at.micros().to_be_bytes());
    bytes.extend_from_slice(&seed.uuid_bits);
    bytes.extend_from_slice(&seed.nonce_bits);
    bytes.extend_from_slice(seed.key_id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads one; None: it is not of this form.
pub(super) fn read(text: &[u8]) -> Option<Seed> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (form, rest) = bytes.split_first()?;
    let (minted_at, rest) = rest.split_first_chunk()?;
    let (uuid_bits, rest) = rest.split_first_chunk()?;
    let (nonce_bits, key_id) = rest.split_first_chunk()?;
    let key_id = str::from_utf8(key_id).ok()?.to_owned();
    (*form == FORM).then(|| Seed {
        minted_at: Timestamp::from_micros(i64::from_be_bytes(*minted_at)),
        uuid_bits: *uuid_bits,
        nonce_bits: *nonce_bits,
        key_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> Seed {
        Seed {
            minted_at: Timestamp::from_micros(1_790_000_123_456_789),
            uuid_bits: [7; 10],
            nonce_bits: [9; 16],
            key_id: "2026-11-21-k3fz".to_owned(),
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        assert_eq!(read(write(&seed()).as_bytes()), Some(seed()));
    }

    #[test]
    fn the_text_has_no_space_that_would_end_it() {
        assert!(write(&seed()).bytes().all(|byte| byte.is_ascii_graphic()));
    }

    #[test]
    fn what_is_no_seed_is_not_read() {
        let whole = write(&seed());
        let other_form = URL_SAFE_NO_PAD
            .encode([&[2], URL_SAFE_NO_PAD.decode(&whole).unwrap().get(1..).unwrap()].concat());
        for text in ["", "AQ", "not base64!", whole.get(..40).unwrap(), &other_form] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
