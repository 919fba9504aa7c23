//! `kache list`: the entries of the store. Knows nothing about what is in them.

use crate::Context;
use crate::fail::{Done, Fail};
use crate::format::{ago, count, printable, seconds, size};
use crate::index::{Index, Listed, Sort, Trouble};
use crate::view::{FAINT, View};
use kache_store::Event;
use std::cell::Cell;
use std::collections::HashSet;
use std::io::Write;

/// List what is stored
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache list                      by crate
  kache list serde                all entries of one crate or package
  kache list --sort size          the largest first
  kache list --json

On a terminal the list goes through PAGER, or less. `kache show KEY` tells what is in an entry.")]
pub struct Args {
    /// Only entries of this crate or package
    #[arg(value_name = "CRATE")]
    name: Option<String>,
    #[arg(long, value_enum, default_value = "name")]
    sort: Sort,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The first so many are shown before the others are looked up.
const AT_ONCE: u32 = 1000;

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let mut index = Index::open(&context.store, view)?;
    let name = args.name.as_deref();
    let first = index.ask(view, |index| index.entries(name, args.sort, 0..AT_ONCE))?;
    let found = !first.is_empty() || name.is_none();
    let shown: HashSet<&str> = first.iter().map(|e| &*e.key).collect();
    let asked = Cell::new(false);
    let others = |index: &Index| -> Result<Vec<Listed>, Trouble> {
        if first.len() < AT_ONCE as usize {
            return Ok(Vec::new());
        }
        // Asked again of a new index, in which those that are equal may be in another order.
        let from = if asked.replace(true) { 0 } else { AT_ONCE };
        let mut entries = index.entries(name, args.sort, from..u32::MAX)?;
        entries.retain(|e| !shown.contains(&*e.key));
        Ok(entries)
    };
    if args.json {
        write!(view.out, "{{\"version\":1,\"entries\":[")?;
        json(&first, "", &mut view.out)?;
        view.out.flush()?;
        json(&index.ask(view, others)?, ",", &mut view.out)?;
        writeln!(view.out, "\n]}}")?;
    } else if let Some(name) = name.filter(|_| first.is_empty()) {
        return Err(Fail::Failed(format!("nothing called {name:?} is stored")));
    } else {
        view.paged(context.var("PAGER").unwrap_or("less"), |out, view| {
            show(&first, out)?;
            out.flush()?;
            asked.set(false);
            let others = index.ask(view, others)?;
            rows(&others, out)?;
            let number = (first.len() + others.len()) as u64;
            let bytes = first.iter().chain(&others).map(|e| e.size).sum();
            match number {
                0 => Ok(()),
                n => Ok(writeln!(out, "{FAINT}{}, {} to restore{FAINT:#}", count(n, "entry"), size(bytes))?),
            }
        })?;
    }
    Ok(Done::when(found))
}

fn show(entries: &[Listed], out: &mut dyn Write) -> std::io::Result<()> {
    if entries.is_empty() {
        return writeln!(out, "The cache is empty: there is nothing to list.");
    }
    let [bytes, hits, compile, used] = ["size", "hits", "compile", "used"];
    writeln!(out, "{FAINT}{bytes:>9}  {hits:>5}  {compile:>12}  {used:>12}  {:<12}  unit{FAINT:#}", "key")?;
    rows(entries, out)
}

/// A line for each; `before` is what separates the first from what was written.
fn json(entries: &[Listed], before: &str, out: &mut dyn Write) -> std::io::Result<()> {
    for (n, entry) in entries.iter().enumerate() {
        writeln!(out, "{}", if n == 0 { before } else { "," })?;
        serde_json::to_writer(&mut *out, entry)?;
    }
    Ok(())
}

fn rows(entries: &[Listed], out: &mut dyn Write) -> std::io::Result<()> {
    let now = Event::now_ms();
    for e in entries {
        let unit = printable(if e.unit.is_empty() { &e.name } else { &e.unit });
        let kind = if e.action.is_empty() || e.action == "rustc" { "" } else { &e.action };
        writeln!(
            out,
            "{:>9}  {:>5}  {:>12}  {:>12}  {}  {unit}{}{FAINT}{kind}{FAINT:#}",
            size(e.size),
            e.hits,
            seconds(e.tool_ms as f64 / 1000.0),
            ago(now.saturating_sub(e.used)),
            &e.key[..12],
            if kind.is_empty() { "" } else { "  " },
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testing::view;
    use kache_key::Digest;
    use kache_store::{Data, Entry, Store};

    /// Guards: whichever page of the index is overwritten, also one that only the last entries lie on, all are listed.
    #[test]
    fn damage_hides_no_entry() {
        const ENTRIES: u64 = 1200;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), None);
        let nothing = || Data::Inline(Vec::new());
        for n in 0..ENTRIES {
            let boot = String::new();
            let entry = Entry { outputs: vec![], stdout: nothing(), stderr: nothing(), tool_ms: n, boot };
            store.put_entry(&Digest::of(&n.to_le_bytes()), &entry).unwrap();
        }
        let path = store.index_path();
        let settings = kache_config::Settings::resolve::<&str>(&|_| None, &[]);
        let (env, cwd, program) = Default::default();
        let context = Context { env, cwd, program, settings, store };
        let listed = |json: bool| {
            let (mut view, paper) = view();
            let done = run(Args { name: None, sort: Sort::Name, json }, &context, &mut view);
            assert!(matches!(done, Ok(Done::Fine)));
            paper.text()
        };
        assert!(listed(false).ends_with("1200 entries, 0 B to restore\n"));
        let good = std::fs::read(&path).unwrap();
        let pages = good.len() / 4096;
        assert!(pages > 50);
        for page in (0..pages).rev().take(4).chain((0..pages).step_by(23)) {
            let overwrite = || {
                let mut bad = good.clone();
                bad[page * 4096..][..4096].fill(0xa5);
                std::fs::write(&path, bad).unwrap();
            };
            overwrite();
            assert_eq!(listed(false).lines().count(), 2 + ENTRIES as usize, "page {page}");
            overwrite();
            let json: serde_json::Value = serde_json::from_str(&listed(true)).unwrap();
            let keys: HashSet<_> = json["entries"].as_array().unwrap().iter().map(|e| e["key"].to_string()).collect();
            assert_eq!(keys.len(), ENTRIES as usize, "page {page}");
        }
    }
}
