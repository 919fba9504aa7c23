//! Known roots and their placeholders.
//!
//! A root is a directory whose place may differ between two builds of the same thing. In whatever is stored it stands
//! as two bytes: [`MARK`] (NUL, which can stand in no path, argument, variable or text file) and the root's letter.

use memchr::memmem;
use serde::{Deserialize, Serialize};

/// First byte of a placeholder.
pub const MARK: u8 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Root {
    /// What `KACHE_BASE_DIR` names.
    Base,
    /// Cargo's target directory; where C is built, if that lies outside of its project.
    Build,
    /// The same with all symbolic links resolved, when that differs.
    BuildReal,
    /// The top of the cargo workspace, or of the project that a C source belongs to.
    Workspace,
    /// `$CARGO_HOME`.
    CargoHome,
    /// The directory above the compiler's `bin`.
    Toolchain,
    Home,
    Temp,
}

impl Root {
    pub const ALL: [Root; 8] = [
        Root::Base,
        Root::Build,
        Root::BuildReal,
        Root::Workspace,
        Root::CargoHome,
        Root::Toolchain,
        Root::Home,
        Root::Temp,
    ];

    /// The byte that names the root in stored text; part of the key format.
    const fn letter(self) -> u8 {
        match self {
            Root::Base => b'A',
            Root::Build => b'B',
            Root::BuildReal => b'b',
            Root::Workspace => b'W',
            Root::CargoHome => b'C',
            Root::Toolchain => b'T',
            Root::Home => b'H',
            Root::Temp => b'M',
        }
    }

    fn of_letter(letter: u8) -> Option<Root> {
        Root::ALL.into_iter().find(|r| r.letter() == letter)
    }

    /// How it is shown to people.
    pub const fn name(self) -> &'static str {
        match self {
            Root::Base => "<base>",
            Root::Build => "<build>",
            Root::BuildReal => "<build-real>",
            Root::Workspace => "<workspace>",
            Root::CargoHome => "<cargo-home>",
            Root::Toolchain => "<toolchain>",
            Root::Home => "<home>",
            Root::Temp => "<temp>",
        }
    }

    /// Its place is a matter of the checkout, not of the machine.
    pub const fn moves_with_checkout(self) -> bool {
        matches!(self, Root::Base | Root::Build | Root::BuildReal | Root::Workspace)
    }
}

/// How paths are escaped in the text at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    Plain,
    /// Makefile rules (`.d`): a space is `\ `. Comment lines (`# env-dep:…`) are plain.
    Make,
    /// Inside JSON strings.
    Json,
}

impl Form {
    pub fn escape(self, path: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(path.len());
        for &b in path {
            match (self, b) {
                (Form::Make, b' ') => out.extend(b"\\ "),
                (Form::Json, b'"') => out.extend(b"\\\""),
                (Form::Json, b'\\') => out.extend(b"\\\\"),
                (Form::Json, b'\n') => out.extend(b"\\n"),
                (Form::Json, b'\t') => out.extend(b"\\t"),
                _ => out.push(b),
            }
        }
        out
    }
}

/// The roots of one action with their places, longest first.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    places: Vec<(Root, Vec<u8>)>,
}

impl Roots {
    /// Adds a root. Relative, empty and top-level places say nothing and are left out; the first root to take a place
    /// keeps it.
    pub fn add(&mut self, root: Root, place: &[u8]) {
        let place = place.strip_suffix(b"/").unwrap_or(place);
        if place.len() < 2 || place[0] != b'/' || place.contains(&MARK) || self.places.iter().any(|(_, p)| p == place) {
            return;
        }
        let at = self.places.partition_point(|(_, p)| p.len() >= place.len());
        self.places.insert(at, (root, place.to_vec()));
    }

    pub fn place(&self, root: Root) -> Option<&[u8]> {
        self.places.iter().find(|(r, _)| *r == root).map(|(_, p)| p.as_slice())
    }

    pub fn iter(&self) -> impl Iterator<Item = (Root, &[u8])> {
        self.places.iter().map(|(r, p)| (*r, p.as_slice()))
    }

    /// These roots, of which only those that move with the checkout count.
    pub fn of_checkout(&self) -> Roots {
        Roots { places: self.places.iter().filter(|(r, _)| r.moves_with_checkout()).cloned().collect() }
    }

    /// The root a path lies in; of several, the deepest.
    pub fn innermost(&self, path: &[u8]) -> Option<Root> {
        let inside = |place: &[u8]| path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
        self.places.iter().find(|(_, place)| inside(place)).map(|(root, _)| *root)
    }

    /// A path in stored form.
    pub fn encode_path(&self, path: &[u8]) -> Vec<u8> {
        match self.innermost(path).and_then(|root| Some((root, self.place(root)?.len()))) {
            Some((root, length)) => [&[MARK, root.letter()], &path[length..]].concat(),
            None => path.to_vec(),
        }
    }

    /// A path outside of a root in stored form as seen from it: `<workspace>/../other/file`. `None` when they have
    /// nothing in common.
    pub fn encode_from(&self, root: Root, path: &[u8]) -> Option<Vec<u8>> {
        let place = self.place(root)?;
        let parts = |p: &'_ [u8]| {
            p.split(|b| *b == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let (from, to) = (parts(place), parts(path));
        let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        if common == 0 || common == from.len() {
            return None;
        }
        let up = std::iter::repeat_n(b"..".to_vec(), from.len() - common);
        let mut out = vec![MARK, root.letter()];
        for part in up.chain(to[common..].iter().cloned()) {
            out.push(b'/');
            out.extend(part);
        }
        Some(out)
    }

    /// Text (an argument, a variable, a file) in stored form: each root that stands there as a whole path or as the
    /// beginning of one becomes its placeholder.
    pub fn encode(&self, text: &[u8], form: Form) -> Vec<u8> {
        if form == Form::Make {
            return by_line(text, |line, form| Some(self.encode_as(line, form))).unwrap_or_default();
        }
        self.encode_as(text, form)
    }

    fn encode_as(&self, text: &[u8], form: Form) -> Vec<u8> {
        let mut out = text.to_vec();
        for (root, place) in &self.places {
            let needle = form.escape(place);
            let mut next = Vec::new();
            let (mut copied, mut from) = (0, 0);
            while let Some(at) = find(&out[from..], &needle).map(|at| from + at) {
                from = at + needle.len();
                if !stands_alone(&out, at, needle.len()) {
                    from = at + 1;
                    continue;
                }
                next.extend_from_slice(&out[copied..at]);
                next.extend([MARK, root.letter()]);
                copied = from;
            }
            if copied > 0 {
                next.extend_from_slice(&out[copied..]);
                out = next;
            }
        }
        out
    }

    /// Stored form back to the places of this build. `None`: it names a root this action does not have.
    pub fn decode(&self, stored: &[u8], form: Form) -> Option<Vec<u8>> {
        if form == Form::Make {
            return by_line(stored, |line, form| self.decode_as(line, form));
        }
        self.decode_as(stored, form)
    }

    fn decode_as(&self, stored: &[u8], form: Form) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(stored.len() + 64);
        let mut rest = stored;
        while let Some(at) = find(rest, &[MARK]) {
            out.extend_from_slice(&rest[..at]);
            let root = Root::of_letter(*rest.get(at + 1)?)?;
            out.extend(form.escape(self.place(root)?));
            rest = &rest[at + 2..];
        }
        out.extend_from_slice(rest);
        Some(out)
    }

    /// Whether stored text names a place in `root`.
    pub fn names(stored: &[u8], root: Root) -> bool {
        stored.windows(2).any(|pair| pair == [MARK, root.letter()])
    }

    /// Stored form for people: `<workspace>/src/lib.rs`.
    pub fn readable(stored: &[u8]) -> String {
        let mut out = Vec::with_capacity(stored.len());
        let mut bytes = stored.iter();
        while let Some(&b) = bytes.next() {
            match b {
                MARK => out.extend(bytes.next().and_then(|l| Root::of_letter(*l)).map_or("<?>", Root::name).bytes()),
                _ => out.push(b),
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The roots whose bytes stand in `data`, alone or as part of something else (the leak scan: a false find only
    /// binds).
    pub fn leaks(&self, data: &[u8]) -> Vec<Root> {
        self.places.iter().filter(|(_, place)| memmem::find(data, place).is_some()).map(|(r, _)| *r).collect()
    }

    /// Whether text that names a root tells, close by and in decimal, its length or that of the whole path: putting
    /// another place there would make it untrue (`[u8; 13] = *b"/w/target/out"`).
    pub fn tells_length(&self, text: &[u8]) -> bool {
        const CLOSE: usize = 48;
        let ends = |b: &u8| {
            b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b':' | b';' | b',' | b')' | b'>' | b'<' | b'|')
        };
        let numbers = |near: &[u8]| -> Vec<usize> {
            let digits = near.split(|b| !b.is_ascii_digit()).filter(|run| !run.is_empty());
            digits.filter_map(|run| std::str::from_utf8(run).ok()?.parse().ok()).collect()
        };
        self.places.iter().any(|(_, place)| {
            memmem::find_iter(text, place).any(|at| {
                let length = text[at..].iter().position(ends).unwrap_or(text.len() - at);
                let (before, after) = (&text[at.saturating_sub(CLOSE)..at], &text[at + length..]);
                let told = [numbers(before), numbers(&after[..after.len().min(CLOSE)])].concat();
                // With its terminating zero, as C counts.
                told.iter().any(|n| [place.len(), length, length + 1].contains(n))
            })
        })
    }
}

/// Makefile text as rustc writes it: comments and the target of a rule are plain, the rest is escaped.
fn by_line(text: &[u8], mut each: impl FnMut(&[u8], Form) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 64);
    for line in text.split_inclusive(|b| *b == b'\n') {
        let plain = match find(line, b": ") {
            _ if line.starts_with(b"#") => line.len(),
            Some(end_of_target) => end_of_target,
            None => 0,
        };
        out.extend(each(&line[..plain], Form::Plain)?);
        out.extend(each(&line[plain..], Form::Make)?);
    }
    Some(out)
}

/// The first place of `needle`. In short text without `memmem`, which asks the processor what it can do before its
/// first search: on a virtual machine that takes longer than all searches of a hit.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    const SHORT: usize = 4096;
    if text.len() > SHORT {
        return memmem::find(text, needle);
    }
    memchr::arch::all::memchr::One::new(needle[0]).iter(text).find(|&at| text[at..].starts_with(needle))
}

/// `/srv` stands in `-L/srv/lib`, not in `/srv2` or `/home/srv`.
fn stands_alone(text: &[u8], at: usize, len: usize) -> bool {
    let part_of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+') || b >= 0x80;
    let after = text.get(at + len).copied();
    let ends = match after {
        None => true,
        // "/work." at the end of a sentence is the path; "/work.old" is another one.
        Some(b'.') => !text.get(at + len + 1).is_some_and(|b| part_of_name(*b)),
        Some(b) => !part_of_name(b),
    };
    // A letter before the slash continues another path, but may also be an option (`-L/work`, `-I/work`), or end a
    // sequence for the terminal (`ESC [ 0 m`, in JSON `\u001b[0m`).
    let before = if at == 0 { None } else { text.get(at - 1).copied() };
    let option = at >= 2 && text[at - 2] == b'-' && before.is_some_and(|b| b.is_ascii_alphabetic());
    let sequence = before == Some(b'm') && {
        let digits = text[..at - 1].iter().rev().take_while(|b| b.is_ascii_digit() || **b == b';').count();
        let opening = &text[..at - 1 - digits];
        opening.ends_with(b"\x1b[") || opening.ends_with(b"\\u001b[")
    };
    ends && (option || sequence || !before.is_some_and(|b| part_of_name(b) || b == b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(list: &[(Root, &str)]) -> Roots {
        let mut roots = Roots::default();
        for (r, p) in list {
            roots.add(*r, p.as_bytes());
        }
        roots
    }

    /// Guards: the longest root wins, and only whole path components match.
    #[test]
    fn encodes_whole_components_longest_first() {
        let a = roots(&[(Root::Workspace, "/w"), (Root::Build, "/w/target"), (Root::Temp, "/tmp/")]);
        let b = roots(&[(Root::Workspace, "/other place"), (Root::Build, "/b"), (Root::Temp, "/t")]);
        let enc = |s: &str| a.encode(s.as_bytes(), Form::Plain);
        let there = |s: &str| String::from_utf8(b.decode(&enc(s), Form::Plain).unwrap()).unwrap();
        assert_eq!(there("-L/w/target/x:/w/src;/tmp"), "-L/b/x:/other place/src;/t");
        assert_eq!(there("/w2 /x/w /w.old"), "/w2 /x/w /w.old");
        assert_eq!(there("see /w."), "see /other place.");
        assert_eq!(
            there("\x1b[1;94m/w/a \\u001b[0m/w/a [0m/w/a"),
            "\x1b[1;94m/other place/a \\u001b[0m/other place/a [0m/w/a"
        );
        assert_eq!(Roots::readable(&enc("/w/a")), "<workspace>/a");
    }

    /// Guards: escaped forms are found and written for the place at hand.
    #[test]
    fn escapes_by_form() {
        let a = roots(&[(Root::Workspace, "/a b")]);
        let b = roots(&[(Root::Workspace, "/c\"d")]);
        let spaced = roots(&[(Root::Workspace, "/s p")]);
        let rule = spaced.decode(&a.encode(b"/a b/x: /a\\ b/y\n/a\\ b/y:\n", Form::Make), Form::Make).unwrap();
        assert_eq!(rule, b"/s p/x: /s\\ p/y\n/s\\ p/y:\n");
        assert_eq!(b.decode(&a.encode(b"# env-dep:X=/a b/y", Form::Make), Form::Make).unwrap(), b"# env-dep:X=/c\"d/y");
        assert_eq!(b.decode(&a.encode(b"{\"/a b/y\"}", Form::Json), Form::Json).unwrap(), b"{\"/c\\\"d/y\"}");
    }

    /// Guards: a stored placeholder of a root we do not have is refused, as are torn ones.
    #[test]
    fn unknown_placeholders_are_refused() {
        let a = roots(&[(Root::Workspace, "/a")]);
        assert_eq!(a.decode(&[MARK, b'B'], Form::Plain), None);
        assert_eq!(a.decode(&[MARK], Form::Plain), None);
        assert_eq!(a.decode(&[MARK, b'?'], Form::Plain), None);
    }

    #[test]
    fn seen_from_a_root() {
        let a = roots(&[(Root::Workspace, "/home/u/repo/ws")]);
        let from = |p: &str| a.encode_from(Root::Workspace, p.as_bytes()).map(|e| Roots::readable(&e));
        assert_eq!(from("/home/u/repo/.git/HEAD").as_deref(), Some("<workspace>/../.git/HEAD"));
        assert_eq!(from("/home/x"), Some("<workspace>/../../../x".into()));
        assert_eq!(from("/usr/lib"), None);
        assert_eq!(from("/home/u/repo/ws/src"), None);
    }

    #[test]
    fn leaks_are_literal_roots() {
        let a = roots(&[(Root::Workspace, "/w/ws")]);
        assert_eq!(a.leaks(b"\0\0/w/ws/src/lib.rs\0"), [Root::Workspace]);
        assert_eq!(a.leaks(b"file:///w/ws"), [Root::Workspace], "also where it could not be replaced");
        assert!(a.leaks(b"/w/w").is_empty());
    }

    #[test]
    fn lengths_are_told() {
        let a = roots(&[(Root::Build, "/w/target")]);
        assert!(a.tells_length(b"[u8; 13] = *b\"/w/target/out\""));
        assert!(a.tells_length(b"char p[14] = \"/w/target/out\""));
        assert!(!a.tells_length(b"[u8; 113] = *b\"/w/target/out\" 2"));
    }
}
