//! BLAKE3 digests and framed hashing: every hashed value carries its length, so no two sequences of fields collide.

use blake3::hazmat::{self, HasherExt};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// Fills a buffer with the bytes at an offset.
pub type ReadAt<'a> = dyn Fn(&mut [u8], u64) -> io::Result<()> + Sync + 'a;

/// As much as one thread hashes in less time than it takes to start another.
const PART: u64 = 8 << 20;

/// So often is what is hashed divided: among sixteen threads at most, however much it says it is.
const DIVISIONS: u32 = 4;

type Halves = (hazmat::ChainingValue, hazmat::ChainingValue);

/// Of BLAKE3's tree over the bytes from `offset`, the values below the topmost node.
fn halves(offset: u64, len: u64, divisions: u32, read_at: &ReadAt<'_>) -> io::Result<Halves> {
    let left = hazmat::left_subtree_len(len);
    let first = || subtree(offset, left, divisions, read_at);
    std::thread::scope(|scope| {
        let other = std::thread::Builder::new().spawn_scoped(scope, first);
        let right = subtree(offset + left, len - left, divisions, read_at)?;
        let left = match other {
            Ok(other) => other.join().map_err(|_| io::Error::other("a thread that hashed panicked"))??,
            // No more threads may be started.
            Err(_) => first()?,
        };
        Ok((left, right))
    })
}

fn subtree(offset: u64, len: u64, divisions: u32, read_at: &ReadAt<'_>) -> io::Result<hazmat::ChainingValue> {
    if len > PART && divisions > 0 {
        let (left, right) = halves(offset, len, divisions - 1, read_at)?;
        return Ok(hazmat::merge_subtrees_non_root(&left, &right, hazmat::Mode::Hash));
    }
    Ok(hashed(offset, len, read_at)?.finalize_non_root())
}

/// Through a small buffer: fresh memory costs more than to read a piece into warm memory.
fn hashed(offset: u64, len: u64, read_at: &ReadAt<'_>) -> io::Result<blake3::Hasher> {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset);
    let (mut buf, mut done) = (vec![0; len.min(64 * 1024) as usize], 0);
    while done < len {
        let piece = (len - done).min(buf.len() as u64) as usize;
        read_at(&mut buf[..piece], offset + done)?;
        hasher.update(&buf[..piece]);
        done += piece as u64;
    }
    Ok(hasher)
}

/// A BLAKE3 digest of content, or of framed fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of bytes as they are, without framing or version.
    pub fn of(data: &[u8]) -> Digest {
        Digest(*blake3::hash(data).as_bytes())
    }

    /// Of everything the reader gives; equal to [`Digest::of`] of the same bytes.
    pub fn of_reader(reader: &mut dyn std::io::Read) -> std::io::Result<Digest> {
        let mut hasher = blake3::Hasher::new();
        let mut buf = vec![0u8; 128 * 1024];
        loop {
            match reader.read(&mut buf) {
                Ok(0) => return Ok(Digest(*hasher.finalize().as_bytes())),
                Ok(n) => hasher.update(&buf[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
        }
    }

    /// Of `len` bytes that `read_at` gives from an offset, on several threads where there is much of it; equal to
    /// [`Digest::of`] of the same bytes.
    pub fn of_parts(len: u64, read_at: &ReadAt<'_>) -> io::Result<Digest> {
        if len <= PART {
            return Ok(Digest(*hashed(0, len, read_at)?.finalize().as_bytes()));
        }
        let (left, right) = halves(0, len, DIVISIONS - 1, read_at)?;
        Ok(Digest(*hazmat::merge_subtrees_root(&left, &right, hazmat::Mode::Hash).as_bytes()))
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = String::with_capacity(64);
        for b in self.0 {
            out.push(DIGITS[usize::from(b >> 4)] as char);
            out.push(DIGITS[usize::from(b & 15)] as char);
        }
        out
    }

    /// Of what [`Digest::hex`] gives, and of nothing else.
    pub fn from_hex(text: &str) -> Option<Digest> {
        let mut out = [0u8; 32];
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (i, b) in out.iter_mut().enumerate() {
            *b = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(Digest(out))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.hex()[..16])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// Hashes a sequence of values, each framed by its length. They are gathered first: BLAKE3 is several times faster on
/// long input, and the values are short.
#[derive(Clone)]
pub struct Framed(Vec<u8>);

impl Framed {
    /// `domain` separates hashes of different things.
    pub fn new(domain: &str) -> Framed {
        let mut framed = Framed(Vec::with_capacity(4096));
        framed.put(&crate::KEY_VERSION.to_le_bytes()).put(domain.as_bytes());
        framed
    }

    pub fn put(&mut self, value: &[u8]) -> &mut Framed {
        self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value);
        self
    }

    pub fn finish(&self) -> Digest {
        Digest::of(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: moving a byte from one field to the next changes the hash.
    #[test]
    fn fields_are_framed() {
        let h = |a: &[u8], b: &[u8]| Framed::new("t").put(a).put(b).finish();
        assert_ne!(h(b"ab", b"c"), h(b"a", b"bc"));
        assert_ne!(h(b"", b"x"), h(b"x", b""));
    }

    /// Guards: how the bytes come makes no difference, and what can't be read is an error.
    #[test]
    fn digests_of_parts() {
        let data: Vec<u8> = (0..(3 * PART + 12345)).map(|n| ((n * n) >> 7) as u8).collect();
        let read_at = |buf: &mut [u8], at: u64| {
            let there = data.get(at as usize..at as usize + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buf.copy_from_slice(there);
            Ok(())
        };
        let of = |len: u64| Digest::of_parts(len, &read_at);
        for len in [0, 1, PART, PART + 1, 2 * PART, 2 * PART + 1, 3 * PART - 1, data.len() as u64] {
            assert_eq!(of(len).unwrap(), Digest::of(&data[..len as usize]), "{len}");
        }
        assert!(of(data.len() as u64 + 1).is_err());
        let divided = |times: u32| halves(0, data.len() as u64, times, &read_at).unwrap();
        assert!(divided(0) == divided(1) && divided(0) == divided(2));
    }

    #[test]
    fn hex_round_trip_and_rejects() {
        let d = Digest::of(b"x");
        assert_eq!(Digest::from_hex(&d.hex()), Some(d));
        assert_eq!(Digest::from_hex("zz"), None);
        for pair in ["é", "+f", "AB"] {
            assert_eq!(Digest::from_hex(&pair.repeat(32)), None, "{pair}");
        }
    }
}
