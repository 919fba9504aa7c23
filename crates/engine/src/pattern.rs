//! Patterns of names, as tables and settings hold them: `*` stands for anything.

use memchr::memmem;

pub fn matches(pattern: &str, name: impl AsRef<[u8]>) -> bool {
    let name = name.as_ref();
    // Tables are gone through for each variable of a hit, and most patterns differ from a name in the first byte.
    let same = pattern.bytes().zip(name).take_while(|(p, n)| p == *n && *p != b'*').count();
    let rest = match pattern.as_bytes().get(same) {
        Some(b'*') => &pattern[same + 1..],
        Some(_) => return false,
        None => return same == name.len(),
    };
    let mut tail = &name[same..];
    let (between, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in between.split('*') {
        let Some(at) = memmem::find(tail, part.as_bytes()) else { return false };
        tail = &tail[at + part.len()..];
    }
    tail.ends_with(end.as_bytes())
}

/// Whether the name is in a table of patterns with reasons.
pub fn in_table(table: &[(&str, &str)], name: &[u8]) -> bool {
    table.iter().any(|(pattern, _)| matches(pattern, name))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name) in [
            ("a*c", "abc"),
            ("*", ""),
            ("x", "x"),
            ("*-sys", "z-sys"),
            ("**", "x"),
            ("a*b*c", "a-b-bc"),
            ("LC_*", "LC_"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a*c", "abd"), ("x", "xy"), ("aa*a", "aa"), ("a*b*b", "ab"), ("LC_*", "LC")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
