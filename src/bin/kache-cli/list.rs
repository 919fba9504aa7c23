//! `kache list`: the entries of the store. Knows nothing about what is in them.

use crate::Context;
use crate::fail::{Done, Fail};
use crate::format::{ago, count, printable, seconds, size};
use crate::index::{Index, Listed, Sort};
use crate::view::{FAINT, View};
use kache_store::Event;
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
    let others = |index: &Index| match first.len() < AT_ONCE as usize {
        true => Ok(Vec::new()),
        false => index.entries(name, args.sort, AT_ONCE..u32::MAX),
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
        view.paged(context.var("PAGER").unwrap_or("less"), |out| {
            show(&first, out)?;
            out.flush()?;
            let others = others(&index).map_err(|_| std::io::Error::other("the index is damaged; ask again"))?;
            rows(&others, out)?;
            let number = (first.len() + others.len()) as u64;
            let bytes = first.iter().chain(&others).map(|e| e.size).sum();
            match number {
                0 => Ok(()),
                n => writeln!(out, "{FAINT}{}, {} to restore{FAINT:#}", count(n, "entry"), size(bytes)),
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
