//! Names of what an archive (`ar`) holds, from its headers alone. Knows nothing about what is in there.

use std::path::Path;

/// More members, or a longer table of names, than any archive of objects has.
const MEMBERS: usize = 10_000;
const NAMES: usize = 4 << 20;

const HEADER: usize = 60;

/// File names of the members; none where it can't be read or is no archive.
pub fn members(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let named = path.extension().is_some_and(|e| e == "a" || e == "lib");
    // Opening a pipe would wait.
    if named && kache_os::stat(path).is_ok_and(|m| m.is_file()) {
        // What could be read up to damage is as good as all.
        let _ = read(path, &mut found);
    }
    found
}

fn read(path: &Path, found: &mut Vec<String>) -> Option<()> {
    let file = std::fs::File::open(path).ok()?;
    let mut magic = [0; 8];
    kache_os::read_at(&file, &mut magic, 0).ok()?;
    let thin = &magic == b"!<thin>\n";
    if !thin && &magic != b"!<arch>\n" {
        return None;
    }
    let (mut at, mut names) = (8, Vec::new());
    let mut header = [0; HEADER];
    while found.len() < MEMBERS {
        kache_os::read_at(&file, &mut header, at).ok()?;
        let size: u64 = std::str::from_utf8(&header[48..58]).ok()?.trim().parse().ok()?;
        let name = std::str::from_utf8(&header[..16]).ok()?.trim_end();
        at += HEADER as u64;
        match name {
            "/" | "/SYM64/" | "__.SYMDEF" => {}
            "//" => {
                names = vec![0; usize::try_from(size).ok().filter(|s| *s <= NAMES)?];
                kache_os::read_at(&file, &mut names, at).ok()?;
            }
            _ => {
                // A long one stands in the table: `/123`.
                let long = name.strip_prefix('/').and_then(|n| n.parse().ok()).and_then(|n: usize| names.get(n..));
                let long = long.map(|rest| rest.split(|b| *b == b'\n').next().unwrap_or_default());
                let text = long.map_or_else(|| name.to_string(), |l| String::from_utf8_lossy(l).into_owned());
                let text = text.trim_end_matches('/');
                found.extend(text.rsplit('/').next().filter(|t| !t.is_empty()).map(str::to_owned));
            }
        }
        // Of a thin archive the members are elsewhere.
        let here = if thin && !matches!(name, "/" | "/SYM64/" | "//") { 0 } else { size };
        at = at.checked_add(here)?.checked_next_multiple_of(2)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: usize) -> Vec<u8> {
        format!("{name:<16}{:<32}{size:<10}`\n", "0").into_bytes()
    }

    /// Guards: short and long names of both kinds of archives; damage ends the list and nothing else.
    #[test]
    fn names() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("libx.a");
        let table = b"a-name-longer-than-that.o/\nsub/another-such-name.o/\n\n";
        for thin in [false, true] {
            let mut bytes = if thin { b"!<thin>\n".to_vec() } else { b"!<arch>\n".to_vec() };
            bytes.extend([header("/", 4), b"syms".to_vec()].concat());
            bytes.extend([header("//", table.len()), table.to_vec()].concat());
            bytes.resize(bytes.len().next_multiple_of(2), b'\n');
            for name in ["lapi.o/", "/0", "/27"] {
                bytes.extend(header(name, 3));
                bytes.extend(if thin { &b""[..] } else { b"obj\n" });
            }
            std::fs::write(&file, &bytes).unwrap();
            assert_eq!(members(&file), ["lapi.o", "a-name-longer-than-that.o", "another-such-name.o"]);
            bytes.truncate(bytes.len() - 10);
            std::fs::write(&file, &bytes).unwrap();
            assert!(members(&file).len() < 4);
        }
        std::fs::write(&file, b"!<arch>\n/ no archive").unwrap();
        assert!(members(&file).is_empty() && members(dir.path()).is_empty());
    }
}
