//! Cargo's configuration: where it is, and which wrapper it names.

use crate::Context;
use crate::toml_text::{Place, value_in, with_value};
use std::path::{Path, PathBuf};
use toml::Value;

const WRAPPER: Place<'_> = Place { table: "build", key: "rustc-wrapper" };

/// What a configuration says of the wrapper.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrapper {
    None,
    Kache(String),
    Sccache(String),
    Foreign(String),
}

impl Wrapper {
    pub fn of(name: Option<String>) -> Wrapper {
        let Some(name) = name else { return Wrapper::None };
        match Path::new(&name).file_stem().and_then(|s| s.to_str()) {
            Some("kache") => Wrapper::Kache(name),
            Some("sccache") => Wrapper::Sccache(name),
            _ => Wrapper::Foreign(name),
        }
    }
}

/// Where cargo keeps what is the user's.
pub fn home(context: &Context) -> Option<PathBuf> {
    let named = context.var("CARGO_HOME").filter(|v| !v.is_empty()).map(|v| context.cwd.join(v));
    named.or_else(|| Some(Path::new(context.var("HOME")?).join(".cargo")))
}

/// The user's configuration; of two files cargo takes the one without an ending.
pub fn file(context: &Context) -> Option<PathBuf> {
    let home = home(context)?;
    let old = home.join("config");
    Some(if old.is_file() { old } else { home.join("config.toml") })
}

/// The wrapper that a configuration names; `Err` says what is wrong with the text.
pub fn wrapper_in(text: &str) -> Result<Option<String>, String> {
    match value_in(text, WRAPPER)? {
        None => Ok(None),
        Some(Value::String(name)) => Ok(Some(name)),
        Some(_) => Err(format!("{WRAPPER} is not a string")),
    }
}

/// The text with this wrapper, or with none.
pub fn with_wrapper(text: &str, wrapper: Option<&str>) -> Result<String, String> {
    wrapper_in(text)?;
    with_value(text, WRAPPER, wrapper.map(Value::from).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: whatever form the table has, only the one value changes, and taking it away gives the old text.
    #[test]
    fn only_the_wrapper_changes() {
        let texts = [
            "",
            "# mine\n[build]\n# jobs of mine\njobs = 4 # four\n\n[net]\nretry = 3\n",
            "[net]\nretry = 3 # no newline",
            "[build] # header\n[net]\nretry = 3\n",
            "build.jobs = 4\n[net]\nretry = 3\n",
            "build = { jobs = 4 } # inline\n",
            "[build]\r\njobs = 4\r\n",
            "[build]\njobs = 4",
        ];
        for text in texts {
            let with = with_wrapper(text, Some("/opt/a b/kache")).unwrap();
            assert_eq!(wrapper_in(&with).unwrap().as_deref(), Some("/opt/a b/kache"), "{with}");
            let kept = text.lines().filter(|l| !l.starts_with("build =")).all(|l| with.lines().any(|w| w == l));
            assert!(kept, "{with}");
            let other = with_wrapper(&with, Some("sccache")).unwrap();
            assert_eq!(with_wrapper(&other, Some("/opt/a b/kache")).unwrap(), with);
            let without = with_wrapper(&with, None).unwrap();
            assert_eq!(without.trim_end(), text.trim_end(), "{with}");
        }
    }

    /// Guards: a table that is only there by its parts gets a header of its own.
    #[test]
    fn a_table_without_header() {
        let with = with_wrapper("[build.x]\ny = 1\n", Some("kache")).unwrap();
        assert_eq!(wrapper_in(&with).unwrap().as_deref(), Some("kache"));
        assert!(with.contains("[build.x]\ny = 1\n"), "{with}");
    }

    /// Guards: comments around a wrapper stay when it goes.
    #[test]
    fn comments_stay() {
        let text = "[build]\n# fast\nrustc-wrapper = \"sccache\" # old\njobs = 4\n";
        assert_eq!(
            with_wrapper(text, Some("kache")).unwrap(),
            "[build]\n# fast\nrustc-wrapper = \"kache\" # old\njobs = 4\n"
        );
        assert_eq!(with_wrapper(text, None).unwrap(), "[build]\n# fast\njobs = 4\n");
        assert_eq!(with_wrapper("build.rustc-wrapper = 'x'\n[a]\n", None).unwrap(), "[a]\n");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for wrong in ["[build\n", "build = 3\n", "[build]\nrustc-wrapper = 3\n", "[build]\n[build]\n"] {
            assert!(with_wrapper(wrong, Some("kache")).is_err(), "{wrong}");
        }
    }
}
