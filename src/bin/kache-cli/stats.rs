//! `kache stats`: what the cache did. Knows nothing about why.

use crate::Context;
use crate::fail::{Done, Fail};
use crate::format::{Since, Table, count, seconds, shorten, size};
use crate::index::Index;
use crate::summary::Summary;
use crate::view::{FAINT, STRONG, View};
use kache_store::Event;
use serde::Serialize;
use std::io::Write;

/// Show what the cache did: outcomes, time saved, reasons, size
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache stats                 the last 7 days
  kache stats --since 24h
  kache stats --since all --json")]
pub struct Args {
    /// How far back: 7d, 24h, 30m, or all
    #[arg(long, default_value = "7d", value_parser = Since::parse, value_name = "DURATION")]
    since: Since,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    version: u32,
    #[serde(flatten)]
    summary: Summary,
}

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let since = args.since.start(Event::now_ms());
    let mut index = Index::open(&context.store, view)?;
    let summary = index.ask(view, |index| Summary::of(index, since, context))?;
    if args.json {
        view.json(&Report { version: 1, summary })?;
    } else {
        show(&summary, &mut view.out)?;
    }
    Ok(Done::Fine)
}

pub fn show(summary: &Summary, out: &mut dyn Write) -> std::io::Result<()> {
    let store = &summary.store;
    if summary.is_empty() && store.entries == 0 {
        writeln!(out, "The cache in {} is empty: nothing was built through kache yet.", store.dir)?;
        return writeln!(out, "Set RUSTC_WRAPPER=kache and build, or see `kache try --help`.");
    }
    if summary.is_empty() {
        writeln!(out, "No builds in this time.")?;
    } else {
        summary.outcome_table().write(out)?;
        writeln!(out)?;
        writeln!(out, "Restored   {STRONG}{}{STRONG:#}", summary.ratios())?;
        writeln!(
            out,
            "Time       {} of compiling saved, {} spent on misses", //
            seconds(summary.tool_seconds_saved),
            seconds(summary.tool_seconds_spent)
        )?;
        let r = &summary.restored;
        writeln!(
            out,
            "Bytes      {} hard-linked, {} cloned, {} copied", //
            size(r.linked_bytes),
            size(r.cloned_bytes),
            size(r.copied_bytes)
        )?;
    }
    writeln!(
        out,
        "Store      {} in {}, {} of at most {}; {} shared with build trees, {} saved by storing equal outputs once", //
        count(store.entries, "entry"),
        count(store.blobs, "blob"),
        size(store.blob_bytes + store.record_bytes),
        size(store.max_bytes),
        size(store.linked_bytes),
        size(store.deduplicated_bytes)
    )?;
    writeln!(out, "           {FAINT}{}{FAINT:#}", store.dir)?;
    if !summary.reasons.is_empty() {
        writeln!(out)?;
        let mut table = Table::new(&[">n", "not cached", "why", "for example"]);
        for r in &summary.reasons {
            table.row([r.count.to_string(), r.what().into(), r.sentence.clone(), shorten(&r.example, 60)]);
        }
        table.write(out)?;
    }
    Ok(())
}
