//! What the cache did in a span of time, in figures: what `kache stats` shows and a report begins with. Knows nothing about
//! presentation.

use crate::Context;
use crate::format::{Table, percent};
use crate::history::{Tally, outcome_name, sentence};
use crate::index::{Holdings, Index, Trouble};
use kache_store::{Event, Outcome};
use serde::Serialize;
use std::collections::BTreeMap;

/// Of so many events with one reason, the commonest detail is its example.
const SAMPLE: usize = 100;

#[derive(Serialize)]
pub struct Summary {
    pub total: Tally,
    pub actions: BTreeMap<String, Tally>,
    /// Of what could be looked up, the part that was restored.
    pub hit_ratio: Option<f64>,
    /// The same, each unit weighed by the time of its compile.
    pub hit_ratio_by_time: Option<f64>,
    pub tool_seconds_saved: f64,
    pub tool_seconds_spent: f64,
    pub queries: u64,
    pub reasons: Vec<ReasonCount>,
    pub restored: Restored,
    pub store: StoreSize,
}

#[derive(Serialize, PartialEq, Debug)]
pub struct ReasonCount {
    pub outcome: &'static str,
    pub reason: String,
    pub sentence: String,
    pub count: u64,
    /// The most frequent thing it was about lately.
    pub example: String,
}

/// Bytes by how they came to their places.
#[derive(Serialize, Default)]
pub struct Restored {
    pub linked_bytes: u64,
    pub cloned_bytes: u64,
    pub copied_bytes: u64,
}

#[derive(Serialize)]
pub struct StoreSize {
    pub dir: String,
    pub entries: u64,
    pub blobs: u64,
    pub blob_bytes: u64,
    pub record_bytes: u64,
    /// Of the blobs' bytes, those whose inode a build tree shares.
    pub linked_bytes: u64,
    pub max_bytes: u64,
    /// What entries with equal outputs would take if each had its own.
    pub deduplicated_bytes: u64,
}

impl Summary {
    pub fn of(index: &Index, since: u64, context: &Context) -> Result<Summary, Trouble> {
        let mut summary = Summary {
            total: Tally::default(),
            actions: BTreeMap::new(),
            hit_ratio: None,
            hit_ratio_by_time: None,
            tool_seconds_saved: 0.0,
            tool_seconds_spent: 0.0,
            queries: 0,
            reasons: Vec::new(),
            restored: Restored::default(),
            store: StoreSize::of(index.holdings()?, context),
        };
        let mut reasons: BTreeMap<(Outcome, String), u64> = BTreeMap::new();
        let mut restored_ms = 0.0;
        for ((outcome, action, reason), sum) in index.sums(since)? {
            if action == "query" || reason == "query" {
                summary.queries += sum.n;
                continue;
            }
            summary.total.add(outcome, sum.n);
            summary.actions.entry(action).or_default().add(outcome, sum.n);
            summary.restored.linked_bytes += sum.linked as u64;
            summary.restored.cloned_bytes += sum.cloned as u64;
            summary.restored.copied_bytes += sum.copied as u64;
            match outcome {
                Outcome::Hit | Outcome::Dup => {
                    restored_ms += sum.tool_ms;
                    summary.tool_seconds_saved += sum.saved_ms / 1000.0;
                }
                Outcome::Miss => summary.tool_seconds_spent += sum.tool_ms / 1000.0,
                Outcome::Passthrough | Outcome::Skipped | Outcome::Error => {}
            }
            // A miss has a reason only when its result was not stored.
            if !reason.is_empty() {
                *reasons.entry((outcome, reason)).or_default() += sum.n;
            }
        }
        let ratio = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
        summary.hit_ratio = ratio(summary.total.restored() as f64, summary.total.cacheable() as f64);
        summary.hit_ratio_by_time = ratio(restored_ms, restored_ms + summary.tool_seconds_spent * 1000.0);
        for ((outcome, reason), count) in reasons {
            let example = most_frequent(&index.examples(outcome, &reason, since, SAMPLE)?);
            let sentence = sentence(&reason).to_string();
            summary.reasons.push(ReasonCount { outcome: outcome_name(outcome), reason, sentence, count, example });
        }
        summary.reasons.sort_by_key(|r| std::cmp::Reverse(r.count));
        Ok(summary)
    }

    pub fn is_empty(&self) -> bool {
        self.total.total() == 0
    }

    /// `75.0 % by count (3 of 4 lookups), 80.0 % by compile time`
    pub fn ratios(&self) -> String {
        let total = &self.total;
        let by_time = self.hit_ratio_by_time.map(|r| format!(", {} by compile time", percent(r, 1.0)));
        let by_count = percent(total.restored() as f64, total.cacheable() as f64);
        let of = format!("{} of {}", total.restored(), total.cacheable());
        format!("{by_count} by count ({of} lookups){}", by_time.unwrap_or_default())
    }

    /// Rows of outcomes, by action.
    pub fn outcomes(&self) -> Vec<[String; 7]> {
        let all = ("all".to_string(), self.total);
        let each = self.actions.iter().map(|(name, tally)| (name.clone(), *tally));
        let rows = each.chain((self.actions.len() > 1).then_some(all)).map(|(name, t)| {
            let [h, d, m, p, s, e] = [t.hit, t.dup, t.miss, t.passthrough, t.skipped, t.error].map(|n| n.to_string());
            [name, h, d, m, p, s, e]
        });
        rows.collect()
    }

    pub fn outcome_table(&self) -> Table {
        let mut table = Table::new(&["", ">hit", ">dup", ">miss", ">passthrough", ">skipped", ">error"]);
        self.outcomes().into_iter().for_each(|row| table.row(row));
        table
    }
}

impl ReasonCount {
    /// What did not happen.
    pub fn what(&self) -> &'static str {
        if self.outcome == "miss" { "not stored" } else { self.outcome }
    }
}

impl StoreSize {
    fn of(held: Holdings, context: &Context) -> StoreSize {
        StoreSize {
            dir: context.cache_dir().display().to_string(),
            entries: held.usage.entries,
            blobs: held.usage.blobs,
            blob_bytes: held.usage.blob_bytes,
            record_bytes: held.usage.record_bytes,
            linked_bytes: held.usage.linked_bytes,
            max_bytes: context.settings.max_size,
            deduplicated_bytes: held.named_bytes.saturating_sub(held.unique_bytes),
        }
    }
}

fn most_frequent(events: &[Event]) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for event in events {
        let detail = event.detail.as_deref().filter(|d| !d.is_empty()).unwrap_or(&event.name);
        *counts.entry(detail).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, n)| *n).map_or_else(String::new, |(detail, _)| detail.to_string())
}
