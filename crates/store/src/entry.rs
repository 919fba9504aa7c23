//! What one action gave that succeeded: its outputs and streams. The local form is the one that travels: nothing
//! machine-local stands in it but the boot id, which only says whether the bytes were ever flushed here.

use kache_key::{Description, Digest, Form, State};
use serde::{Deserialize, Serialize};

/// Bytes, kept in the record when few, else as a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Data {
    Inline(#[serde(with = "serde_bytes")] Vec<u8>),
    Blob { digest: Digest, size: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputKind {
    /// Bytes as they are.
    File {
        data: Data,
        executable: bool,
    },
    /// Text in stored form: its placeholders become the places of the build it is restored in.
    Text {
        data: Data,
        form: Form,
        executable: bool,
    },
    /// A symbolic link; its target in stored form.
    Symlink(#[serde(with = "serde_bytes")] Vec<u8>),
    Dir,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Where it goes, in stored form.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    pub kind: OutputKind,
    /// May share its inode with other checkouts where there are no reflinks (cargo's `.rlib`, a script's real program).
    pub shared: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub outputs: Vec<Output>,
    /// Both streams in stored form.
    pub stdout: Data,
    pub stderr: Data,
    /// The tool's wall time, milliseconds.
    pub tool_ms: u64,
    /// Boot under which the bytes were written or last verified.
    pub boot: String,
}

impl Entry {
    fn data(&self) -> impl Iterator<Item = &Data> {
        let of_outputs = self.outputs.iter().filter_map(|o| match &o.kind {
            OutputKind::File { data, .. } | OutputKind::Text { data, .. } => Some(data),
            OutputKind::Symlink(_) | OutputKind::Dir => None,
        });
        of_outputs.chain([&self.stdout, &self.stderr])
    }

    /// Each blob the entry needs.
    pub fn blobs(&self) -> impl Iterator<Item = (&Digest, u64)> {
        self.data().filter_map(|data| match data {
            Data::Blob { digest, size } => Some((digest, *size)),
            Data::Inline(_) => None,
        })
    }

    /// Bytes that stand in the entry itself.
    pub fn inline_bytes(&self) -> u64 {
        self.data().map(|data| if let Data::Inline(bytes) = data { bytes.len() as u64 } else { 0 }).sum()
    }

    /// Digest of everything that is restored, in stored form: equal for two runs that gave the same, and for no others.
    pub fn outputs_digest(&self) -> Option<Digest> {
        let parts = (&self.outputs, &self.stdout, &self.stderr);
        postcard::to_stdvec(&parts).ok().map(|bytes| Digest::of(&bytes))
    }
}

/// For people: what an entry's key was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    pub name: String,
    /// Tells units of one crate apart within a build.
    pub unit: String,
    pub weak: Digest,
    pub fields: Description,
    /// Each input by its description, with its state.
    pub inputs: Vec<(String, State)>,
}
