//! Diagnostics name the files they are about, and kache's prefix maps reach those names too. Here they become again what
//! the plain compiler says, before a message is passed on or kept. Knows nothing about running or storing.

use kache_key::Form;
use kache_os::{bytes, path};
use memchr::memmem;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// What stands for mapped places in the names of files.
#[derive(Debug, Default)]
pub struct Mapped {
    /// Kache's own maps; the last match wins.
    pub maps: Vec<(Vec<u8>, &'static str)>,
    /// What the user's maps match. They come later and win.
    pub users: Vec<PathBuf>,
    /// The main source has no directory: `./file.rs` may be what a module of it is called.
    pub bare_source: bool,
}

impl Mapped {
    /// The file that a mapped name stands for, as it was called before.
    fn file(&self, mapped: &Path) -> Option<PathBuf> {
        let real =
            self.maps.iter().rev().filter(|(_, to)| *to != "." || !self.bare_source).find_map(|(from, to)| {
                let real = path(from).join(mapped.strip_prefix(to).ok()?);
                kache_os::stat(&real).is_ok_and(|m| m.is_file()).then_some(real)
            })?;
        (!self.users.iter().any(|own| real.starts_with(own))).then_some(real)
    }

    /// Whole lines of messages, with the places that files really have.
    pub fn undo<'l>(&self, lines: &'l [u8], form: Form) -> Cow<'l, [u8]> {
        if self.maps.is_empty() {
            return Cow::Borrowed(lines);
        }
        named_files(lines, form, &|mapped| self.file(mapped))
    }
}

fn named_files<'l>(lines: &'l [u8], form: Form, file: &dyn Fn(&Path) -> Option<PathBuf>) -> Cow<'l, [u8]> {
    let (mut out, mut copied) = (Vec::new(), 0);
    for at in memmem::find_iter(lines, b"./") {
        let Some(name) = file_name(&lines[..at], &lines[at..]) else { continue };
        let Some(real) = file(path(name)) else { continue };
        out.extend_from_slice(&lines[copied..at]);
        out.extend(form.escape(bytes(&real)));
        copied = at + name.len();
    }
    if copied == 0 {
        return Cow::Borrowed(lines);
    }
    out.extend_from_slice(&lines[copied..]);
    Cow::Owned(out)
}

/// The name of a file that begins with `tail`, if `head` ends where messages name one: a field of JSON, behind an arrow,
/// or, in the short format, at the beginning of a line.
fn file_name<'l>(head: &[u8], tail: &'l [u8]) -> Option<&'l [u8]> {
    // A name with anything escaped in it stays as it is.
    let word = &tail[..tail.iter().position(|b| matches!(b, b'"' | b'\\' | b'\n' | 0x1b)).unwrap_or(tail.len())];
    if head.ends_with(b"\"file_name\":\"") {
        return (tail.get(word.len()) == Some(&b'"')).then_some(word);
    }
    let head = without_colour(head);
    let arrow = [&b"-->"[..], b":::"].iter().find_map(|arrow| head.strip_suffix(*arrow));
    let head = arrow.map_or(head, without_colour);
    let begins = head.is_empty() || [&b"\n"[..], b"\\n", b"\"rendered\":\""].iter().any(|end| head.ends_with(end));
    let line_number = word.windows(2).position(|w| w[0] == b':' && w[1].is_ascii_digit());
    line_number.filter(|_| begins).map(|end| &word[..end])
}

/// Without the spaces and the terminal's sequences (`ESC [ … m`, in JSON `\u001b[…m`) at the end.
fn without_colour(mut text: &[u8]) -> &[u8] {
    loop {
        while let Some(before) = text.strip_suffix(b" ") {
            text = before;
        }
        let inner = text.strip_suffix(b"m").map(|t| {
            let digits = t.iter().rev().take_while(|b| b.is_ascii_digit() || **b == b';').count();
            &t[..t.len() - digits]
        });
        let before = inner.and_then(|t| t.strip_suffix(b"\x1b[").or(t.strip_suffix(b"\\u001b[")));
        match before {
            Some(before) => text = before,
            None => return text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(line: &str, form: Form) -> String {
        let file = |mapped: &Path| {
            let rest = mapped.strip_prefix("./target").ok()?;
            Some(Path::new("/b \"x\"").join(rest))
        };
        String::from_utf8(named_files(line.as_bytes(), form, &file).into_owned()).unwrap()
    }

    /// Guards: in each form of a message, the name of a file, and nothing but it, is the real one.
    #[test]
    fn files_are_named_as_they_are() {
        let plain = |line: &str| undone(line, Form::Plain);
        let real = "/b \"x\"/gen.rs:1:2";
        assert_eq!(plain("  --> ./target/gen.rs:1:2\n"), format!("  --> {real}\n"));
        assert_eq!(plain("\x1b[1m --> \x1b[0m./target/gen.rs:1:2\n"), format!("\x1b[1m --> \x1b[0m{real}\n"));
        assert_eq!(plain("x\n   ::: ./target/gen.rs:1:2"), format!("x\n   ::: {real}"));
        assert_eq!(plain("x\n./target/gen.rs:1:2: warning"), format!("x\n{real}: warning"));
        for other in ["1 | see --> ./target/gen.rs:1:2", "a ./target/gen.rs:1:2", "  --> ../target/gen.rs:1:2"] {
            assert_eq!(plain(other), other);
        }
        let json = |line: &str| undone(line, Form::Json);
        let real = "/b \\\"x\\\"/gen.rs";
        assert_eq!(json("{\"file_name\":\"./target/gen.rs\"}"), format!("{{\"file_name\":\"{real}\"}}"));
        assert_eq!(json("{\"text\":\"./target/gen.rs\"}"), "{\"text\":\"./target/gen.rs\"}");
        let rendered = |name: &str| format!("{{\"rendered\":\"w\\n \\u001b[94m--> \\u001b[0m{name}:1:2\\n\"}}");
        assert_eq!(json(&rendered("./target/gen.rs")), rendered(real));
        let short = |name: &str| format!("{{\"rendered\":\"{name}:1:2: \\u001b[33mwarning\"}}");
        assert_eq!(json(&short("./target/gen.rs")), short(real));
        assert_eq!(json(&short("./elsewhere/gen.rs")), short("./elsewhere/gen.rs"));
    }
}
