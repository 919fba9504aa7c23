//! `kache purge`: removes everything that is stored, or all of one crate. Knows only how to ask first.

use crate::fail::{Done, Fail};
use crate::format::{count, size};
use crate::index::{Index, Sort};
use crate::view::View;
use crate::{Context, Removal};
use kache_key::Digest;
use kache_store::Limits;
use serde::Serialize;
use std::collections::HashSet;
use std::io::Write;
use std::time::SystemTime;

/// Remove everything that is stored, or all of one crate
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache purge                 asks first
  kache purge -y              for scripts
  kache purge --dry-run       only says what would go
  kache purge --crate-name serde

Build trees keep what they have; running builds go on, without the cache.")]
pub struct Args {
    /// Only entries of this crate or package
    #[arg(long, value_name = "NAME")]
    crate_name: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    removal: Removal,
}

#[derive(Serialize)]
struct Report {
    version: u32,
    dry_run: bool,
    entries: u64,
    /// What they take on the disk; of one crate, what they restore.
    size_bytes: u64,
}

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let Args { crate_name, yes, removal: Removal { dry_run, json } } = args;
    let dir = context.cache_dir().display();
    let report = |entries, size_bytes| Report { version: 1, dry_run, entries, size_bytes };
    if context.cache_missing() {
        return tell(json, &report(0, 0), &format!("There is no cache in {dir}: nothing to remove."), view);
    }
    let unwanted = crate_name.as_ref().map(|name| of_crate(name, context, view)).transpose()?;
    let (what, report) = match (&unwanted, &crate_name) {
        (Some((keys, bytes)), Some(name)) => {
            let entries = keys.len() as u64;
            (format!("{} of {name} ({})", count(entries, "entry"), size(*bytes)), report(entries, *bytes))
        }
        _ => {
            let usage = context.store.usage();
            let bytes = usage.blob_bytes + usage.record_bytes;
            (format!("{} ({})", count(usage.entries, "entry"), size(bytes)), report(usage.entries, bytes))
        }
    };
    if unwanted.as_ref().is_some_and(|(keys, _)| keys.is_empty()) {
        return Err(Fail::Failed(format!("nothing called {:?} is stored", crate_name.unwrap_or_default())));
    }
    if dry_run {
        return tell(json, &report, &format!("Would remove {what} from {dir}."), view);
    }
    if !yes && (json || !view.can_ask) {
        return Err(Fail::Usage(format!("this removes {what} from {dir}: say -y when there is no terminal to ask on")));
    }
    if !yes && !view.ask(&format!("Remove {what} from {dir}? [y/N] "))? {
        writeln!(view.out, "Nothing was removed.")?;
        return Ok(Done::Fine);
    }
    match unwanted {
        None => context.store.purge(|kind| view.progress(|| format!("removing {kind}")))?,
        Some((unwanted, _)) => {
            let limits = Limits { max_size: u64::MAX, max_age: None, unwanted, dry_run: false, now: SystemTime::now() };
            if context
                .store
                .collect(limits, |done, of| view.progress(|| format!("looking at {done} of {of} files")))?
                .is_none()
            {
                return Err(Fail::Failed(format!("a gc is at work in {dir}: nothing was removed, try again")));
            }
        }
    }
    view.progress_done();
    tell(json, &report, &format!("Removed {what} from {dir}."), view)
}

fn tell(json: bool, report: &Report, text: &str, view: &mut View) -> Result<Done, Fail> {
    if json {
        view.json(report)?;
    } else {
        writeln!(view.out, "{text}")?;
    }
    Ok(Done::Fine)
}

/// The entries of a crate, and the bytes they restore.
fn of_crate(name: &str, context: &Context, view: &mut View) -> Result<(HashSet<Digest>, u64), Fail> {
    let mut index = Index::open(&context.store, view)?;
    let entries = index.ask(view, |index| index.entries(Some(name), Sort::Name, 0..u32::MAX))?;
    let keys = entries.iter().filter_map(|e| Digest::from_hex(&e.key)).collect();
    Ok((keys, entries.iter().map(|e| e.size).sum()))
}
