//! `kache stats`: what the cache did, from the event log. Knows nothing about why.

use crate::Context;
use crate::fail::{Done, Fail};
use crate::format::{Since, Table, count, percent, seconds, size};
use crate::history::{Tally, is_query, outcome_name, sentence};
use crate::view::{FAINT, STRONG, View};
use kache_store::{Event, Outcome, Usage};
use serde::Serialize;
use std::collections::BTreeMap;
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

/// All that is shown; the JSON is this.
#[derive(Serialize)]
struct Report {
    version: u32,
    total: Tally,
    actions: BTreeMap<String, Tally>,
    /// Of what could be looked up, the part that was restored.
    hit_ratio: Option<f64>,
    /// The same, each unit weighed by the time of its compile.
    hit_ratio_by_time: Option<f64>,
    tool_seconds_saved: f64,
    tool_seconds_spent: f64,
    queries: u64,
    reasons: Vec<ReasonCount>,
    restored: Restored,
    store: StoreSize,
}

#[derive(Serialize, PartialEq, Debug)]
struct ReasonCount {
    outcome: &'static str,
    reason: String,
    sentence: String,
    count: u64,
    /// The most frequent thing it was about.
    example: String,
}

#[derive(Serialize, Default)]
struct Restored {
    linked_bytes: u64,
    cloned_bytes: u64,
    copied_bytes: u64,
}

#[derive(Serialize)]
struct StoreSize {
    dir: String,
    entries: u64,
    blobs: u64,
    blob_bytes: u64,
    record_bytes: u64,
    linked_bytes: u64,
    max_bytes: u64,
}

/// What is collected while events go by.
#[derive(Default)]
struct Sums {
    total: Tally,
    actions: BTreeMap<String, Tally>,
    reasons: BTreeMap<(Outcome, String), BTreeMap<String, u64>>,
    saved_ms: f64,
    restored_tool_ms: u64,
    missed_tool_ms: u64,
    queries: u64,
    restored: Restored,
}

impl Sums {
    fn add(&mut self, event: Event) {
        if is_query(&event) {
            self.queries += 1;
            return;
        }
        self.total.add(event.outcome);
        self.restored.linked_bytes += event.linked;
        self.restored.cloned_bytes += event.cloned;
        self.restored.copied_bytes += event.copied;
        match event.outcome {
            Outcome::Hit | Outcome::Dup => {
                self.restored_tool_ms += event.tool_ms;
                self.saved_ms += (event.tool_ms as f64 - event.ms).max(0.0);
            }
            Outcome::Miss => self.missed_tool_ms += event.tool_ms,
            Outcome::Passthrough | Outcome::Skipped | Outcome::Error => {}
        }
        // A miss has a reason only when its result was not stored.
        if let Some(reason) = event.reason {
            let about = self.reasons.entry((event.outcome, reason)).or_default();
            let detail = event.detail.filter(|d| !d.is_empty()).unwrap_or_else(|| event.name.clone());
            // Details can be all different; a bounded sample of them is enough for an example.
            if about.len() < 1000 || about.contains_key(&detail) {
                *about.entry(detail).or_default() += 1;
            } else {
                *about.entry(String::new()).or_default() += 1;
            }
        }
        self.actions.entry(event.action).or_default().add(event.outcome);
    }

    fn reasons(&self) -> Vec<ReasonCount> {
        let most = |about: &BTreeMap<String, u64>| {
            let named = about.iter().filter(|(detail, _)| !detail.is_empty());
            named.max_by_key(|(_, n)| **n).map_or_else(String::new, |(detail, _)| detail.clone())
        };
        let each = self.reasons.iter().map(|((outcome, reason), about)| ReasonCount {
            outcome: outcome_name(*outcome),
            reason: reason.clone(),
            sentence: sentence(reason).to_string(),
            count: about.values().sum(),
            example: most(about),
        });
        let mut reasons: Vec<_> = each.collect();
        reasons.sort_by_key(|r| std::cmp::Reverse(r.count));
        reasons
    }

    fn report(self, usage: Usage, context: &Context) -> Report {
        let ratio = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
        let tool_ms = (self.restored_tool_ms + self.missed_tool_ms) as f64;
        Report {
            version: 1,
            hit_ratio: ratio(self.total.restored() as f64, self.total.cacheable() as f64),
            hit_ratio_by_time: ratio(self.restored_tool_ms as f64, tool_ms),
            tool_seconds_saved: self.saved_ms / 1000.0,
            tool_seconds_spent: self.missed_tool_ms as f64 / 1000.0,
            queries: self.queries,
            reasons: self.reasons(),
            total: self.total,
            actions: self.actions,
            restored: self.restored,
            store: StoreSize {
                dir: context.cache_dir().display().to_string(),
                entries: usage.entries,
                blobs: usage.blobs,
                blob_bytes: usage.blob_bytes,
                record_bytes: usage.record_bytes,
                linked_bytes: usage.linked_bytes,
                max_bytes: context.settings.max_size,
            },
        }
    }
}

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let mut sums = Sums::default();
    context.store.each_event(args.since.start(Event::now_ms()), |event| sums.add(event))?;
    let report = sums.report(context.store.usage(), context);
    if args.json {
        view.json(&report)?;
    } else {
        show(&report, &mut view.out)?;
    }
    Ok(Done::Fine)
}

fn show(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    let store = &report.store;
    if report.total.total() == 0 && store.entries == 0 {
        writeln!(out, "The cache in {} is empty: nothing was built through kache yet.", store.dir)?;
        return writeln!(out, "Set RUSTC_WRAPPER=kache and build, or see `kache try --help`.");
    }
    if report.total.total() == 0 {
        writeln!(out, "No builds in this time.")?;
    } else {
        outcomes(report).write(out)?;
        writeln!(out)?;
        let total = &report.total;
        let of = format!("{} of {}", total.restored(), total.cacheable());
        let ratio = percent(total.restored() as f64, total.cacheable() as f64);
        writeln!(out, "Restored   {STRONG}{ratio}{STRONG:#} by count ({of} lookups){}", by_time(report))?;
        writeln!(
            out,
            "Time       {} of compiling saved, {} spent on misses", //
            seconds(report.tool_seconds_saved),
            seconds(report.tool_seconds_spent)
        )?;
        let r = &report.restored;
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
        "Store      {} in {}, {} of at most {}; {} shared with build trees", //
        count(store.entries, "entry"),
        count(store.blobs, "blob"),
        size(store.blob_bytes + store.record_bytes),
        size(store.max_bytes),
        size(store.linked_bytes)
    )?;
    writeln!(out, "           {FAINT}{}{FAINT:#}", store.dir)?;
    if !report.reasons.is_empty() {
        writeln!(out)?;
        let mut table = Table::new(&[">n", "not cached", "why", "for example"]);
        for r in &report.reasons {
            let what = if r.outcome == "miss" { "not stored" } else { r.outcome };
            table.row([r.count.to_string(), what.into(), r.sentence.clone(), crate::format::shorten(&r.example, 60)]);
        }
        table.write(out)?;
    }
    Ok(())
}

fn by_time(report: &Report) -> String {
    report.hit_ratio_by_time.map_or_else(String::new, |r| format!(", {} by compile time", percent(r, 1.0)))
}

fn outcomes(report: &Report) -> Table {
    let mut table = Table::new(&["", ">hit", ">dup", ">miss", ">passthrough", ">skipped", ">error"]);
    let all = ("all".to_string(), report.total);
    let each = report.actions.iter().map(|(name, tally)| (name.clone(), *tally));
    for (name, t) in each.chain((report.actions.len() > 1).then_some(all)) {
        let [h, d, m, p, s, e] = [t.hit, t.dup, t.miss, t.passthrough, t.skipped, t.error].map(|n| n.to_string());
        table.row([name, h, d, m, p, s, e]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::testing::event;

    /// Guards: ratios count lookups only, time is weighed by compile time, and reasons are grouped with their commonest detail.
    #[test]
    fn sums() {
        let mut sums = Sums::default();
        let declined = |detail: &str| Event {
            reason: Some("unknown-flag".into()),
            detail: Some(detail.into()),
            ..event("x", Outcome::Passthrough, 3)
        };
        sums.add(Event { linked: 7, tool_ms: 900, ms: 100.0, ..event("a", Outcome::Hit, 1) });
        sums.add(Event { tool_ms: 100, ..event("b", Outcome::Miss, 2) });
        for detail in ["-Za", "-Zb", "-Zb"] {
            sums.add(declined(detail));
        }
        sums.add(Event { action: "query".into(), ..declined("-vV") });
        let reasons = sums.reasons();
        assert_eq!(reasons.len(), 1);
        assert_eq!((reasons[0].count, reasons[0].example.as_str()), (3, "-Zb"));
        assert_eq!((sums.total.cacheable(), sums.total.total(), sums.queries), (2, 5, 1));
        assert_eq!((sums.restored_tool_ms, sums.missed_tool_ms, sums.saved_ms), (900, 100, 800.0));
        assert_eq!(sums.restored.linked_bytes, 7);
    }
}
