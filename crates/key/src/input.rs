//! Inputs: what an action was seen to look at (a path set), and the states such things can be in.

use crate::{Digest, Framed, Root, Roots, Sink};
use serde::{Deserialize, Serialize};

/// One thing an action looked at. Paths and names are in stored form (roots as placeholders).
///
/// In order, what concerns one path stands together, and near the other paths of its directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Input {
    /// What a path leads to, links followed: a file's bytes, a directory, nothing. Also of files that were only
    /// `stat`ed: `git describe --dirty` knows changes by `stat` alone.
    Path(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The path itself, links not followed: the target when it is a link, else like [`Input::Path`].
    Link(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The nearest thing of this name in a directory above a root: what a search upward from a checkout would find.
    Above {
        root: Root,
        #[serde(with = "serde_bytes")]
        name: Vec<u8>,
    },
    /// Names in a directory.
    List(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The canonical form of a path.
    Resolve(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A program looked for in these directories; an empty one stands for those of `PATH`.
    Search {
        #[serde(with = "serde_bytes")]
        name: Vec<u8>,
        dirs: Vec<Vec<u8>>,
    },
    /// A variable's literal value.
    Env(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The literal value of a variable that held a root of the checkout when it was read: binds.
    EnvPlace(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A variable's value with roots as placeholders.
    EnvPortable(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Every variable but named noise, roots as placeholders.
    EnvAll,
    /// Where a root is: the entry is bound to it.
    Place(Root),
    /// What only shapes messages (colour, width), for actions that said something.
    Messages,
    /// The machine's processor: a compiler was told to make code for it.
    Processor,
    /// What the machine is called, and which kernel it runs (`uname`).
    Machine,
    /// The name that `PWD` gives the working directory, or another one of the checkout, where it is not `getcwd`'s.
    DirectoryName,
}

impl Ord for Input {
    fn cmp(&self, other: &Input) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Input {
    fn partial_cmp(&self, other: &Input) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Input {
    fn order(&self) -> (&[u8], u8, Option<Root>, &[Vec<u8>]) {
        match self {
            Input::Path(p) => (p, 0, None, &[]),
            Input::Link(p) => (p, 1, None, &[]),
            Input::Resolve(p) => (p, 2, None, &[]),
            Input::List(p) => (p, 3, None, &[]),
            Input::Above { root, name } => (name, 4, Some(*root), &[]),
            Input::Search { name, dirs } => (name, 5, None, dirs),
            Input::Env(n) => (n, 6, None, &[]),
            Input::EnvPlace(n) => (n, 7, None, &[]),
            Input::EnvPortable(n) => (n, 8, None, &[]),
            Input::EnvAll => (b"", 9, None, &[]),
            Input::Place(root) => (b"", 10, Some(*root), &[]),
            Input::Messages => (b"", 11, None, &[]),
            Input::Processor => (b"", 12, None, &[]),
            Input::Machine => (b"", 13, None, &[]),
            Input::DirectoryName => (b"", 14, None, &[]),
        }
    }

    /// Holds only for one place of a root that moves with the checkout.
    pub fn binds(&self) -> bool {
        matches!(self, Input::Place(root) if root.moves_with_checkout()) || matches!(self, Input::EnvPlace(_))
    }

    pub fn describe(&self) -> String {
        let r = |b: &[u8]| Roots::readable(b);
        match self {
            Input::Path(p) => format!("file {}", r(p)),
            Input::Link(p) => format!("link {}", r(p)),
            Input::Above { root, name } => format!("{} above {}", r(name), root.name()),
            Input::List(p) => format!("names in {}", r(p)),
            Input::Resolve(p) => format!("canonical form of {}", r(p)),
            Input::Search { name, .. } => format!("program {} on PATH", r(name)),
            Input::Env(n) | Input::EnvPlace(n) | Input::EnvPortable(n) => format!("variable {}", r(n)),
            Input::EnvAll => "the environment".into(),
            Input::Place(root) => format!("place of {}", root.name()),
            Input::Messages => "colour and width of messages".into(),
            Input::Processor => "the processor".into(),
            Input::Machine => "the machine's name and kernel".into(),
            Input::DirectoryName => "the working directory's name in PWD".into(),
        }
    }
}

/// What one input is like now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Absent,
    File {
        digest: Digest,
        executable: bool,
    },
    Dir,
    /// A device, a socket, …: nothing to hash.
    Other,
    /// A name or text: a link's target, a canonical path, a variable's value, a program's place with its content.
    Text(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Anything long, by its digest.
    Hashed(Digest),
    /// Looking failed with this error number.
    Failed(i32),
}

impl State {
    pub fn describe(&self) -> String {
        match self {
            State::Absent => "absent".into(),
            State::File { digest, executable } => {
                format!("{}{}", &digest.hex()[..16], if *executable { " (executable)" } else { "" })
            }
            State::Dir => "a directory".into(),
            State::Other => "a special file".into(),
            State::Text(t) => format!("{:?}", Roots::readable(t)),
            State::Hashed(d) => d.hex()[..16].to_string(),
            State::Failed(errno) => format!("error {errno}"),
        }
    }

    fn write(&self, sink: &mut dyn Sink) {
        match self {
            State::Absent => sink.field("absent", b""),
            State::File { digest, executable } => {
                sink.field(if *executable { "executable" } else { "file" }, digest.as_bytes());
            }
            State::Dir => sink.field("dir", b""),
            State::Other => sink.field("other", b""),
            State::Text(t) => sink.field("text", t),
            State::Hashed(d) => sink.field("hashed", d.as_bytes()),
            State::Failed(errno) => sink.field("failed", &errno.to_le_bytes()),
        }
    }
}

/// The inputs an action was seen to look at, sorted: names, not contents.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PathSet {
    pub inputs: Vec<Input>,
    /// Of an entry that is bound: what it takes to lift the binding.
    pub bound: Option<Bound>,
}

/// When another place of the root gives the same outputs, the entry no longer depends on the place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The strong fingerprint without what binds.
    pub unbound: Digest,
    pub outputs: Digest,
    /// Length of each place of the roots that move with the checkout. Two places of one length prove little: a program
    /// may have used nothing but the length.
    pub lengths: Vec<(Root, u64)>,
    /// The entry, where nothing binds but that a source may tell its own path: a preprocessor knows whether it does.
    pub entry: Option<Digest>,
}

impl PathSet {
    /// The strong fingerprint: `weak` and the state of each input.
    pub fn strong(&self, weak: &Digest, state_of: &mut dyn FnMut(&Input) -> State) -> Digest {
        let mut hash = Framed::new("strong");
        hash.put(weak.as_bytes());
        for input in &self.inputs {
            // The inputs' names are part of what is hashed: two path sets with equal states are different questions.
            hash.put(&framed_name(input));
            state_of(input).write(&mut hash);
        }
        hash.finish()
    }

    /// Without what binds it to a place: of variables, what else is in them still counts.
    pub fn unbound(&self) -> PathSet {
        let kept = self.inputs.iter().filter_map(|input| match input {
            Input::EnvPlace(name) => Some(Input::EnvPortable(name.clone())),
            input if input.binds() => None,
            input => Some(input.clone()),
        });
        let mut inputs: Vec<Input> = kept.collect();
        inputs.sort();
        PathSet { inputs, bound: None }
    }
}

/// A stable, framed encoding of an input's name.
fn framed_name(input: &Input) -> Vec<u8> {
    let tagged = |tag: u8, b: &[u8]| [&[tag], b].concat();
    match input {
        Input::Path(p) => tagged(b'p', p),
        Input::Link(p) => tagged(b'l', p),
        Input::Above { root, name } => tagged(b'u', &[root.name().as_bytes(), b"/", name].concat()),
        Input::List(p) => tagged(b'd', p),
        Input::Resolve(p) => tagged(b'r', p),
        Input::Search { name, dirs } => {
            // Each with its length: no two lists of names and directories give the same bytes.
            let mut out = tagged(b's', &(name.len() as u64).to_le_bytes());
            out.extend(name);
            for dir in dirs {
                out.extend((dir.len() as u64).to_le_bytes());
                out.extend(dir);
            }
            out
        }
        Input::Env(n) => tagged(b'e', n),
        Input::EnvPlace(n) => tagged(b'E', n),
        Input::EnvPortable(n) => tagged(b'v', n),
        Input::EnvAll => vec![b'*'],
        Input::Place(root) => tagged(b'@', root.name().as_bytes()),
        Input::Messages => vec![b'm'],
        Input::Processor => vec![b'c'],
        Input::Machine => vec![b'n'],
        Input::DirectoryName => vec![b'w'],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: the name of an input is hashed with its state, so equal states of different inputs differ.
    #[test]
    fn names_count() {
        let weak = Digest::of(b"w");
        let of = |i: Input| PathSet { inputs: vec![i], bound: None }.strong(&weak, &mut |_| State::Absent);
        assert_ne!(of(Input::Path(b"/a".to_vec())), of(Input::Path(b"/b".to_vec())));
        assert_ne!(of(Input::Path(b"/a".to_vec())), of(Input::Link(b"/a".to_vec())));
    }

    /// Guards: each state hashes differently.
    #[test]
    fn states_count() {
        let weak = Digest::of(b"w");
        let set = PathSet { inputs: vec![Input::Path(b"/a".to_vec())], bound: None };
        let d = Digest::of(b"x");
        let states = [
            State::Absent,
            State::File { digest: d, executable: false },
            State::File { digest: d, executable: true },
            State::Dir,
            State::Other,
            State::Text(vec![]),
            State::Hashed(d),
            State::Failed(13),
        ];
        let mut seen: Vec<Digest> = states.iter().map(|s| set.strong(&weak, &mut |_| s.clone())).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), states.len());
    }
}
