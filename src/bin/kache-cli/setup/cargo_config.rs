//! Cargo's configuration file: which wrapper it names, and the same text with another one. Knows text only; the rest of
//! the file stays as it is, byte for byte.

use crate::Context;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml_edit::{Document, DocumentMut, Item, TableLike, value};

const TABLE: &str = "build";
const KEY: &str = "rustc-wrapper";

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
    let document = Document::parse(text).map_err(|e| e.to_string().trim_end().to_string())?;
    match document.get(TABLE) {
        None => Ok(None),
        Some(item) => {
            let table = item.as_table_like().ok_or_else(|| format!("{TABLE} is not a table"))?;
            let name = |item: &Item| item.as_str().map(str::to_string);
            table.get(KEY).map(|i| name(i).ok_or_else(|| format!("{TABLE}.{KEY} is not a string"))).transpose()
        }
    }
}

/// The text with this wrapper, or with none.
pub fn with_wrapper(text: &str, wrapper: Option<&str>) -> Result<String, String> {
    let now = wrapper_in(text)?;
    if now.as_deref() == wrapper {
        return Ok(text.into());
    }
    let changed = match (now, wrapper) {
        (Some(_), Some(name)) => replaced(text, name)?,
        (Some(_), None) => removed(text)?,
        (None, Some(name)) => added(text, name)?,
        (None, None) => text.into(),
    };
    // Whatever the text looked like: cargo must read what was meant.
    if wrapper_in(&changed)?.as_deref() == wrapper {
        Ok(changed)
    } else {
        Err(format!("{TABLE}.{KEY} can't be changed here: change it by hand"))
    }
}

/// Where the key and its value stand.
fn spans(text: &str) -> Option<(Range<usize>, Range<usize>)> {
    let document = Document::parse(text).ok()?;
    let (key, item) = document.get(TABLE)?.as_table_like()?.get_key_value(KEY)?;
    Some((key.span()?, item.span()?))
}

fn replaced(text: &str, name: &str) -> Result<String, String> {
    let (_, old) = spans(text).ok_or("the place of the value is not known")?;
    Ok(format!("{}{}{}", &text[..old.start], value(name), &text[old.end..]))
}

fn removed(text: &str) -> Result<String, String> {
    let (key, old) = spans(text).ok_or("the place of the value is not known")?;
    let start = text[..key.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[old.end..].find('\n').map_or(text.len(), |at| old.end + at + 1);
    let (before, after) = (text[start..key.start].trim(), text[old.end..end].trim());
    if (before.is_empty() || before == "build.") && (after.is_empty() || after.starts_with('#')) {
        let rest = format!("{}{}", &text[..start], &text[end..]);
        return without_empty_table(rest);
    }
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
    document.get_mut(TABLE).and_then(Item::as_table_like_mut).and_then(|table| table.remove(KEY));
    without_empty_table(document.to_string())
}

/// A table that only held the wrapper goes with it, unless something is said about it.
fn without_empty_table(text: String) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
    let said = |table: &toml_edit::Table| {
        let around = [table.decor().prefix(), table.decor().suffix()];
        around.into_iter().flatten().filter_map(|r| r.as_str()).any(|text| text.contains('#'))
    };
    match document.get(TABLE).and_then(Item::as_table) {
        Some(table) if table.is_empty() && !said(table) && document.to_string() == text => {
            document.remove(TABLE);
            Ok(document.to_string())
        }
        _ => Ok(text),
    }
}

fn added(text: &str, name: &str) -> Result<String, String> {
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let line = format!("{KEY} = {}{line_end}", value(name));
    let document = Document::parse(text).map_err(|e| e.to_string())?;
    match document.get(TABLE) {
        // After its header.
        Some(Item::Table(table)) if !table.is_dotted() && !table.is_implicit() => {
            let header = table.span().ok_or("the place of the table is not known")?;
            let at = text[header.start..].find('\n').map_or(text.len(), |n| header.start + n + 1);
            let gap = if text[..at].ends_with('\n') { "" } else { line_end };
            Ok(format!("{}{gap}{line}{}", &text[..at], &text[at..]))
        }
        Some(_) => {
            let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
            let table: Option<&mut dyn TableLike> = document.get_mut(TABLE).and_then(Item::as_table_like_mut);
            table.ok_or_else(|| format!("{TABLE} is not a table"))?.insert(KEY, value(name));
            Ok(document.to_string())
        }
        None => {
            let gap = match text {
                "" => String::new(),
                _ if text.ends_with('\n') => line_end.into(),
                _ => line_end.repeat(2),
            };
            Ok(format!("{text}{gap}[{TABLE}]{line_end}{line}"))
        }
    }
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
