//! Patterns of names, as tables and settings hold them: `*` stands for anything.

use memchr::memmem;

pub fn matches(pattern: &str, name: impl AsRef<[u8]>) -> bool {
    let name = name.as_ref();
    let Some((start, rest)) = pattern.split_once('*') else { return pattern.as_bytes() == name };
    let Some(mut tail) = name.strip_prefix(start.as_bytes()) else { return false };
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
