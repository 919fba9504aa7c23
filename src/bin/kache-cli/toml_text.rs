//! One value in a TOML file: what it is, and the same text with another one. Knows text only; the rest of the file stays as
//! it is, byte for byte.

use std::fmt;
use std::ops::Range;
use toml::{Table, Value};
use toml_edit::{Document, DocumentMut, Item, TableLike};

/// Where a value stands.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub table: &'a str,
    pub key: &'a str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.key)
    }
}

/// The value that stands there; `Err` says what is wrong with the text.
pub fn value_in(text: &str, at: Place<'_>) -> Result<Option<Value>, String> {
    let document: Table = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_string())?;
    match document.get(at.table) {
        None => Ok(None),
        Some(Value::Table(table)) => Ok(table.get(at.key).cloned()),
        Some(_) => Err(format!("{} is not a table", at.table)),
    }
}

/// The text with this value there, or with none.
pub fn with_value(text: &str, at: Place<'_>, value: Option<&Value>) -> Result<String, String> {
    let now = value_in(text, at)?;
    if now.as_ref() == value {
        return Ok(text.into());
    }
    let changed = match (now, value) {
        (Some(_), Some(value)) => replaced(text, at, value)?,
        (Some(_), None) => removed(text, at)?,
        (None, Some(value)) => added(text, at, value)?,
        (None, None) => text.into(),
    };
    // Whatever the text looked like: readers must find what was meant.
    if value_in(&changed, at)?.as_ref() == value {
        Ok(changed)
    } else {
        Err(format!("{at} can't be changed here: change it by hand"))
    }
}

/// Where the key and its value stand.
fn spans(text: &str, at: Place<'_>) -> Option<(Range<usize>, Range<usize>)> {
    let document = Document::parse(text).ok()?;
    let (key, item) = document.get(at.table)?.as_table_like()?.get_key_value(at.key)?;
    Some((key.span()?, item.span()?))
}

fn replaced(text: &str, at: Place<'_>, value: &Value) -> Result<String, String> {
    let (_, old) = spans(text, at).ok_or("the place of the value is not known")?;
    Ok(format!("{}{}{}", &text[..old.start], value, &text[old.end..]))
}

fn removed(text: &str, at: Place<'_>) -> Result<String, String> {
    let (key, old) = spans(text, at).ok_or("the place of the value is not known")?;
    let start = text[..key.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[old.end..].find('\n').map_or(text.len(), |at| old.end + at + 1);
    let (before, after) = (text[start..key.start].trim(), text[old.end..end].trim());
    if (before.is_empty() || before.strip_suffix('.') == Some(at.table)) && (after.is_empty() || after.starts_with('#'))
    {
        let rest = format!("{}{}", &text[..start], &text[end..]);
        return without_empty_table(rest, at);
    }
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
    document.get_mut(at.table).and_then(Item::as_table_like_mut).and_then(|table| table.remove(at.key));
    without_empty_table(document.to_string(), at)
}

/// A table that only held the value goes with it, unless something is said about it.
fn without_empty_table(text: String, at: Place<'_>) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
    let said = |table: &toml_edit::Table| {
        let around = [table.decor().prefix(), table.decor().suffix()];
        around.into_iter().flatten().filter_map(|r| r.as_str()).any(|text| text.contains('#'))
    };
    match document.get(at.table).and_then(Item::as_table) {
        Some(table) if table.is_empty() && !said(table) && document.to_string() == text => {
            document.remove(at.table);
            Ok(document.to_string())
        }
        _ => Ok(text),
    }
}

fn added(text: &str, at: Place<'_>, value: &Value) -> Result<String, String> {
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let line = format!("{} = {value}{line_end}", at.key);
    let document = Document::parse(text).map_err(|e| e.to_string())?;
    match document.get(at.table) {
        // After its header.
        Some(Item::Table(table)) if !table.is_dotted() && !table.is_implicit() => {
            let header = table.span().ok_or("the place of the table is not known")?;
            let end = text[header.start..].find('\n').map_or(text.len(), |n| header.start + n + 1);
            let gap = if text[..end].ends_with('\n') { "" } else { line_end };
            Ok(format!("{}{gap}{line}{}", &text[..end], &text[end..]))
        }
        Some(_) => {
            let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
            let table: Option<&mut dyn TableLike> = document.get_mut(at.table).and_then(Item::as_table_like_mut);
            let value: toml_edit::Value = value.to_string().parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
            table.ok_or_else(|| format!("{} is not a table", at.table))?.insert(at.key, value.into());
            Ok(document.to_string())
        }
        None => {
            let gap = match text {
                "" => String::new(),
                _ if text.ends_with('\n') => line_end.into(),
                _ => line_end.repeat(2),
            };
            Ok(format!("{text}{gap}[{}]{line_end}{line}", at.table))
        }
    }
}
