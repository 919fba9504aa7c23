//! Record files: how everything but blobs stands on disk.
//!
//! ```text
//! magic    8 bytes, names kind and version
//! check   32 bytes, BLAKE3 of the payload
//! payload  postcard
//! ```
//! A file that does not match in any part is treated as missing and removed.

use kache_key::Digest;
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;

pub const ACTION: &[u8; 8] = b"kacheAC2";
pub const ENTRY: &[u8; 8] = b"kacheEN2";
pub const INPUTS: &[u8; 8] = b"kacheIN1";

/// Larger than any honest record: path sets of the largest links are below 1 MB, and an entry holds a few MB of small
/// files.
const LIMIT: u64 = 64 << 20;

/// Fails for what [`look`] would refuse.
pub fn encode<T: Serialize>(magic: &[u8; 8], value: &T) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(64 << 10);
    out.extend_from_slice(magic);
    out.extend_from_slice(&[0; 32]);
    let mut out = postcard::to_extend(value, out).map_err(std::io::Error::other)?;
    let check = Digest::of(&out[40..]);
    out[8..40].copy_from_slice(check.as_bytes());
    if out.len() as u64 > LIMIT {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(out)
}

pub fn decode<T: DeserializeOwned>(magic: &[u8; 8], data: &[u8]) -> Option<T> {
    let (head, payload) = data.split_at_checked(40)?;
    if &head[..8] != magic || &head[8..] != Digest::of(payload).as_bytes() {
        return None;
    }
    postcard::from_bytes(payload).ok()
}

/// Reads a record; `Ok(None)` when it is damaged or of another version.
pub fn look<T: DeserializeOwned>(path: &Path, magic: &[u8; 8]) -> std::io::Result<Option<T>> {
    match kache_os::read_bounded(path, LIMIT) {
        Ok(data) => Ok(decode(magic, &data)),
        Err(e) if e.kind() == std::io::ErrorKind::FileTooLarge => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reads a record; removes it when it is damaged or of another version.
pub fn read<T: DeserializeOwned>(path: &Path, magic: &[u8; 8]) -> Option<T> {
    let value = look(path, magic).ok()?;
    if value.is_none() {
        let _ = std::fs::remove_file(path);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: any single changed or missing byte makes a record unreadable, never a different record.
    #[test]
    fn damage_is_a_miss() {
        let value = vec![(1u32, "one".to_string()), (2, "two".to_string())];
        let good = encode(ENTRY, &value).unwrap();
        assert_eq!(decode::<Vec<(u32, String)>>(ENTRY, &good), Some(value));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(decode::<Vec<(u32, String)>>(ENTRY, &bad), None, "byte {at}");
            assert_eq!(decode::<Vec<(u32, String)>>(ENTRY, &good[..at]), None, "cut at {at}");
        }
        assert_eq!(decode::<Vec<(u32, String)>>(ACTION, &good), None);
    }
}
