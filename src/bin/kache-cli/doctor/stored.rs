//! Is what is stored whole? Reads all of it, and removes what is damaged where that was asked for. What a blob, a record or
//! the index holds is others' to know.

use super::{Finding, note, ok, problem};
use crate::Context;
use crate::fail::Fail;
use crate::format::{count, printable, size};
use crate::view::View;
use kache_store::VerifyReport;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::Path;

/// Blobs, entries, and what else stands in records.
pub fn records(repair: bool, context: &Context, view: &mut View) -> Result<Finding, Fail> {
    const ABOUT: &str = "store";
    let report = context.store.verify(repair, |done, total| view.progress(|| format!("verifying {done} of {total}")));
    view.progress_done();
    let VerifyReport { entries, blobs, bytes, damaged, incomplete } = report?;
    let read = format!("{}, {} ({})", count(entries, "entry"), count(blobs, "blob"), size(bytes));
    if damaged.is_empty() && incomplete == 0 {
        return Ok(ok(ABOUT, format!("{read}: all whole")));
    }
    let names: Vec<String> = damaged.iter().take(5).map(|p| p.display().to_string()).collect();
    let (damaged, incomplete) = (count(damaged.len() as u64, "damaged file"), count(incomplete, "incomplete entry"));
    let again = "what is missing will be compiled again. If it comes back, check the disk";
    Ok(if repair {
        note(ABOUT, format!("{read}: {damaged} and {incomplete} removed: {}", names.join(", ")), again)
    } else {
        let advice = format!("kache doctor --repair removes them; {again}");
        problem(ABOUT, format!("{read}: {damaged} and {incomplete}: {}", names.join(", ")), advice)
    })
}

/// The index for people, where there is one: it is derived, so what is damaged is removed and made anew.
pub fn index(repair: bool, context: &Context) -> Option<Finding> {
    const ABOUT: &str = "index";
    const ANEW: &str = "the next command that needs it builds it anew";
    let path = context.store.index_path();
    kache_os::lstat(&path).ok()?;
    let shown = path.display();
    Some(match damage(&path) {
        Ok(None) => ok(ABOUT, format!("{shown}: whole")),
        Ok(Some(damage)) if !repair => {
            problem(ABOUT, format!("{shown} is damaged: {damage}"), format!("kache doctor --repair removes it; {ANEW}"))
        }
        Ok(Some(damage)) => match std::fs::remove_file(&path) {
            Ok(()) => note(ABOUT, format!("{shown} was damaged ({damage}) and is removed"), ANEW),
            Err(e) => problem(ABOUT, format!("{shown} is damaged and can't be removed: {e}"), "remove it by hand"),
        },
        Err(e) => note(ABOUT, format!("{shown} can't be read: {e}"), "correct its owner and mode, or remove it"),
    })
}

/// What is wrong with a database, if it can be read at all.
fn damage(path: &Path) -> rusqlite::Result<Option<String>> {
    let checked = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|db| {
        db.busy_timeout(std::time::Duration::from_secs(60))?;
        db.query_row("pragma integrity_check(1)", [], |row| row.get::<_, String>(0))
    });
    match checked {
        Ok(told) if told == "ok" => Ok(None),
        Ok(told) => Ok(Some(printable(&told))),
        Err(e) => match e.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Ok(Some(e.to_string())),
            _ => Err(e),
        },
    }
}
