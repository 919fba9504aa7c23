//! `kache gc`: eviction by hand, and the housekeeping that the wrapper starts by itself. Knows only limits; what goes
//! first is the store's to decide.

use crate::fail::{Done, Fail};
use crate::format::{count, parse_duration, size};
use crate::view::View;
use crate::{Context, Removal};
use kache_store::{GcReport, Limits};
use serde::Serialize;
use std::collections::HashSet;
use std::io::Write;
use std::time::{Duration, SystemTime};

/// Evict what was used least recently, and sweep what nothing refers to
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache gc                          down to the configured size
  kache gc --max-size 20GiB --dry-run
  kache gc --max-age 7d             what was not used for a week

This happens by itself while you build; the command is for doing it now, or with other limits.")]
pub struct Args {
    /// Evict until the cache is no larger than this [default: the setting cache.max_size]
    #[arg(long, value_name = "SIZE", value_parser = kache_config::size)]
    max_size: Option<u64>,
    /// Evict what was not used for this long: 7d, 24h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_age: Option<Duration>,
    /// Run quietly with the settings' limits, as the wrapper does
    #[arg(long, conflicts_with_all = ["max_size", "max_age", "dry_run", "json"])]
    auto: bool,
    #[command(flatten)]
    removal: Removal,
}

#[derive(Serialize)]
struct Report {
    version: u32,
    dry_run: bool,
    /// Another run was at work: nothing was done.
    busy: bool,
    entries: u64,
    evicted: u64,
    orphans: u64,
    freed_bytes: u64,
    still_linked_bytes: u64,
    size_bytes: u64,
}

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let limits = Limits {
        max_size: args.max_size.unwrap_or(context.settings.max_size),
        max_age: args.max_age,
        unwanted: HashSet::new(),
        dry_run: args.removal.dry_run,
        now: SystemTime::now(),
    };
    // An absent cache needs no directory made for it.
    let done = match context.cache_missing() {
        true => Ok(Some(GcReport::default())),
        false => context.store.collect(limits, |done, of| view.progress(|| format!("looking at {done} of {of} files"))),
    };
    view.progress_done();
    if args.auto {
        return done.map(|_| Done::Fine).map_err(Fail::from);
    }
    let (report, busy) = done?.map_or((GcReport::default(), true), |r| (r, false));
    if args.removal.json {
        view.json(&Report {
            version: 1,
            dry_run: args.removal.dry_run,
            busy,
            entries: report.entries,
            evicted: report.evicted,
            orphans: report.orphans,
            freed_bytes: report.freed,
            still_linked_bytes: report.still_linked,
            size_bytes: report.size,
        })?;
    } else if busy {
        writeln!(view.out, "Another gc is at work in {}; nothing was done.", context.cache_dir().display())?;
    } else {
        show(&report, args.removal.dry_run, &mut view.out)?;
    }
    Ok(Done::Fine)
}

fn show(report: &GcReport, dry_run: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if report.entries == 0 && report.orphans == 0 {
        return writeln!(out, "The cache is empty: there is nothing to evict.");
    }
    let (evicts, removes) = if dry_run { ("Would evict", "would remove") } else { ("Evicted", "removed") };
    writeln!(
        out,
        "{evicts} {} of {} and {removes} {}: {} freed.", //
        report.evicted,
        count(report.entries, "entry"),
        count(report.orphans, "blob"),
        size(report.freed)
    )?;
    if report.still_linked > 0 {
        writeln!(out, "{} more stay on the disk as long as build trees link them.", size(report.still_linked))?;
    }
    writeln!(out, "{} kept.", size(report.size))
}
