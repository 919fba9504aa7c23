//! Reads an output once for two questions: what is its digest, and which places of roots stand in it?
//!
//! Knows nothing about why a place counts, nor where bytes are stored. Large files pass through in pieces: holding a debug
//! executable in memory takes longer than looking through it.

use kache_key::{Root, Roots};
use std::collections::BTreeSet;
use std::io::{self, Read};

pub struct Scan<R> {
    from: R,
    roots: Roots,
    /// The end of the piece before, too short for a whole place: one may stand across.
    tail: Vec<u8>,
    /// The longest place, less one byte.
    overlap: usize,
    pub found: BTreeSet<Root>,
    /// Bytes read.
    pub size: u64,
}

impl<R: Read> Scan<R> {
    pub fn new(from: R, roots: Roots) -> Scan<R> {
        let overlap = roots.iter().map(|(_, place)| place.len() - 1).max().unwrap_or(0);
        Scan { from, roots, tail: Vec::new(), overlap, found: BTreeSet::new(), size: 0 }
    }
}

impl<R: Read> Read for Scan<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buf)?;
        let piece = &buf[..read];
        self.size += read as u64;
        self.tail.extend(&piece[..read.min(self.overlap)]);
        self.found.extend(self.roots.leaks(&self.tail));
        self.found.extend(self.roots.leaks(piece));
        if read >= self.overlap {
            self.tail.clear();
            self.tail.extend(&piece[read - self.overlap..]);
        } else {
            self.tail.drain(..self.tail.len().saturating_sub(self.overlap));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives as many bytes at a time as the list says, over and over.
    struct Pieces<'a>(&'a [u8], std::iter::Cycle<std::slice::Iter<'a, usize>>);

    impl Read for Pieces<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.1.next().map_or(0, |n| *n).min(self.0.len()).min(buf.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    /// Guards: a place is found wherever reading stops, and nothing is found that does not stand there.
    #[test]
    fn places_across_pieces() {
        let mut roots = Roots::default();
        roots.add(Root::Workspace, b"/some/space");
        roots.add(Root::Build, b"/elsewhere/target");
        let found = |text: &[u8], sizes: &[usize]| {
            let mut scan = Scan::new(Pieces(text, sizes.iter().cycle()), roots.clone());
            io::copy(&mut scan, &mut io::sink()).unwrap();
            assert_eq!(scan.size, text.len() as u64);
            scan.found.into_iter().collect::<Vec<_>>()
        };
        let texts: [(&[u8], &[Root]); 4] = [
            (b"xx/some/spacexx", &[Root::Workspace]),
            (b"/elsewhere/target", &[Root::Build]),
            (b"/some/spa/some/spacce/elsewhere/targe", &[]),
            (b"abc/some/space\0\0\0\0\0\0\0\0\0\0\0\0\0\0/elsewhere/target.", &[Root::Workspace, Root::Build]),
        ];
        for (text, expected) in texts {
            for size in 1..text.len() + 1 {
                let sorted: BTreeSet<Root> = expected.iter().copied().collect();
                let expected: Vec<Root> = sorted.into_iter().collect();
                assert_eq!(found(text, &[size]), expected, "{size} at a time");
                assert_eq!(found(text, &[size, 1, 2]), expected, "{size}, 1 and 2 at a time");
            }
        }
    }
}
