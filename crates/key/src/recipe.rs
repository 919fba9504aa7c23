//! One recipe, many sinks: the fields of a key are written once, and digest, explanation and stored description all
//! receive the same fields. So nothing can be in the key and missing from the explanation.

use crate::{Digest, Framed};
use serde::{Deserialize, Serialize};

/// Receives key fields in order.
pub trait Sink {
    /// `tag` names the field for people; `value` is what is hashed.
    fn field(&mut self, tag: &str, value: &[u8]);
}

/// Something that has key fields.
pub trait Recipe {
    fn write(&self, sink: &mut dyn Sink);

    fn fingerprint(&self) -> Digest {
        let mut sink = Framed::new("weak");
        self.write(&mut sink);
        sink.finish()
    }

    fn describe(&self) -> Description {
        let mut sink = Description::default();
        self.write(&mut sink);
        sink
    }
}

impl Sink for Framed {
    fn field(&mut self, tag: &str, value: &[u8]) {
        self.put(tag.as_bytes()).put(value);
    }
}

/// The fields as text, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description(pub Vec<(String, String)>);

impl Sink for Description {
    fn field(&mut self, tag: &str, value: &[u8]) {
        // Digests are no text.
        let text = std::str::from_utf8(value)
            .map_or_else(|_| value.iter().map(|b| format!("{b:02x}")).collect(), |_| crate::Roots::readable(value));
        self.0.push((tag.to_string(), text));
    }
}
