//! `kache report`: what the cache did, to be read, kept or processed. Gathers the figures; the modules below write them,
//! each in one format, and know nothing about where they come from.

mod html;
mod markdown;
mod perfetto;
mod text;

use crate::Context;
use crate::fail::{Done, Fail};
use crate::format::{Since, date};
use crate::history::{Tally, is_query, outcome_name, unit_name};
use crate::index::{Index, Trouble};
use crate::summary::Summary;
use crate::view::View;
use kache_store::{Event, Outcome};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// The last build is looked for among so many events.
const LAST_BUILD: usize = 5_000;

/// A trace shows so many events, the newest.
const TRACED: usize = 50_000;

/// Show what the cache did as text, JSON, Markdown, a page or a trace
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache report                                             on the terminal
  kache report --format html --output report.html          one page with charts and the last build's timeline
  kache report --format github >> $GITHUB_STEP_SUMMARY     a job summary
  kache report --format perfetto --output trace.json       for https://ui.perfetto.dev
  kache report --format json --since all                   described by share/doc/kache/json.schema.json")]
pub struct Args {
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// How far back: 7d, 24h, 30m, or all
    #[arg(long, default_value = "7d", value_parser = Since::parse, value_name = "DURATION")]
    since: Since,
    /// How many misses and reasons to name
    #[arg(long, default_value = "10", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    top: u16,
    /// Write to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For the terminal
    Text,
    /// For programs
    Json,
    /// For documents
    Markdown,
    /// Markdown as GitHub shows it in a job summary
    Github,
    /// One page that needs nothing else
    Html,
    /// Chrome trace events, for Perfetto
    Perfetto,
}

/// All that is told; the JSON is this.
#[derive(Serialize)]
pub struct Report {
    version: u32,
    /// The version of the program.
    kache: &'static str,
    generated_ms: u64,
    since_ms: u64,
    span: String,
    #[serde(flatten)]
    summary: Summary,
    slowest_misses: Vec<Slow>,
    /// Steps of `course`.
    step_hours: u64,
    course: Vec<Step>,
    last_build: Option<Build>,
}

#[derive(Serialize)]
struct Slow {
    unit: String,
    action: String,
    tool_seconds: f64,
    time_ms: u64,
    stored: bool,
    reason: Option<String>,
    key: Option<String>,
}

#[derive(Serialize)]
struct Step {
    begin_ms: u64,
    #[serde(flatten)]
    tally: Tally,
}

#[derive(Serialize)]
struct Build {
    dir: String,
    begin_ms: u64,
    end_ms: u64,
    total: Tally,
    /// It may have had more invocations, before these.
    cut: bool,
    lanes: usize,
    units: Vec<Unit>,
}

/// One invocation on a timeline.
#[derive(Serialize)]
struct Unit {
    unit: String,
    action: String,
    outcome: &'static str,
    begin_ms: f64,
    ms: f64,
    tool_ms: u64,
    /// Those that ran at the same time are in different lanes.
    lane: usize,
    reason: Option<String>,
}

impl Report {
    fn of(index: &Index, args: &Args, now: u64, context: &Context) -> Result<Report, Trouble> {
        let since = args.since.start(now);
        let step_hours = match args.since {
            Since::Last(span) if span.as_secs() <= 2 * 86_400 => 1,
            _ => 24,
        };
        let mut course: Vec<Step> = Vec::new();
        for (begin_ms, outcome, n) in index.course(since, step_hours)? {
            if course.last().is_none_or(|s| s.begin_ms != begin_ms) {
                course.push(Step { begin_ms, tally: Tally::default() });
            }
            if let Some(step) = course.last_mut() {
                step.tally.add(outcome, n);
            }
        }
        let slow = |e: Event| Slow {
            unit: unit_name(&e).to_string(),
            action: e.action,
            tool_seconds: e.tool_ms as f64 / 1000.0,
            time_ms: e.time,
            stored: e.stored,
            reason: e.reason,
            key: e.key,
        };
        let (last, cut) = index.last_build(since, LAST_BUILD)?;
        let mut summary = Summary::of(index, since, context)?;
        summary.reasons.truncate(args.top.into());
        Ok(Report {
            version: 1,
            kache: env!("CARGO_PKG_VERSION"),
            generated_ms: now,
            since_ms: since,
            span: args.since.words(),
            summary,
            slowest_misses: index.slowest(since, args.top.into())?.into_iter().map(slow).collect(),
            step_hours,
            course,
            last_build: last.map(|build| Build::of(build, cut)),
        })
    }

    /// The last line in every format.
    fn footer(&self) -> String {
        format!("kache {} · {} · made {} UTC", self.kache, self.span, date(self.generated_ms))
    }

    fn slowest_rows(&self) -> impl Iterator<Item = (f64, &Slow, String)> {
        self.slowest_misses.iter().map(|s| {
            let note = match &s.reason {
                Some(reason) => crate::history::sentence(reason).to_string(),
                None if s.stored => "stored".into(),
                None => "not stored".into(),
            };
            (s.tool_seconds, s, note)
        })
    }
}

impl Build {
    fn of(build: crate::history::Build, cut: bool) -> Build {
        let units = timeline(&build.events.iter().filter(|e| !is_query(e)).collect::<Vec<_>>());
        let mut total = Tally::default();
        build.events.iter().filter(|e| !is_query(e)).for_each(|e| total.add(e.outcome, 1));
        Build {
            begin_ms: units.iter().map(|u| u.begin_ms).fold(f64::MAX, f64::min).max(0.0) as u64,
            end_ms: build.end(),
            dir: build.dir,
            total,
            cut,
            lanes: units.iter().map(|u| u.lane + 1).max().unwrap_or(0),
            units,
        }
    }

    fn seconds(&self) -> f64 {
        self.end_ms.saturating_sub(self.begin_ms) as f64 / 1000.0
    }

    fn restored(&self) -> String {
        let of = if self.cut { format!(", of its newest {} invocations", self.units.len()) } else { String::new() };
        format!("{} of {} lookups restored{of}", self.total.restored(), self.total.cacheable())
    }
}

/// Invocations by the time they began, each in the first lane that is free then.
fn timeline(events: &[&Event]) -> Vec<Unit> {
    /// What is longer is no measurement.
    const LONGEST: f64 = 86_400_000.0;
    let unit = |e: &&Event| {
        let ms = e.ms.clamp(0.0, LONGEST.min(e.time as f64));
        Unit {
            unit: unit_name(e).to_string(),
            action: e.action.clone(),
            outcome: outcome_name(e.outcome),
            begin_ms: e.time as f64 - ms,
            ms,
            tool_ms: e.tool_ms,
            lane: 0,
            reason: e.reason.clone(),
        }
    };
    let mut units: Vec<Unit> = events.iter().map(unit).collect();
    units.sort_by(|a, b| a.begin_ms.total_cmp(&b.begin_ms));
    let mut busy_until: Vec<f64> = Vec::new();
    for unit in &mut units {
        unit.lane = busy_until.iter().position(|end| *end <= unit.begin_ms).unwrap_or_else(|| {
            busy_until.push(0.0);
            busy_until.len() - 1
        });
        busy_until[unit.lane] = unit.begin_ms + unit.ms;
    }
    units
}

const OUTCOMES: [Outcome; 6] =
    [Outcome::Hit, Outcome::Dup, Outcome::Miss, Outcome::Passthrough, Outcome::Skipped, Outcome::Error];

fn counts(t: &Tally) -> [u64; 6] {
    [t.hit, t.dup, t.miss, t.passthrough, t.skipped, t.error]
}

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let now = Event::now_ms();
    let mut index = Index::open(&context.store, view)?;
    let mut page: Vec<u8> = Vec::new();
    if args.format == Format::Perfetto {
        let (events, cut) = index.ask(view, |index| index.newest(args.since.start(now)..u64::MAX, TRACED))?;
        if cut {
            writeln!(
                view.err,
                "kache: the trace holds the newest {TRACED} events; say a shorter --since for another part"
            )?;
        }
        perfetto::write(&events, &mut page)?;
    } else {
        let report = index.ask(view, |index| Report::of(index, &args, now, context))?;
        match args.format {
            Format::Text => text::write(&report, &mut page)?,
            Format::Json => {
                serde_json::to_writer_pretty(&mut page, &report)?;
                page.push(b'\n');
            }
            Format::Markdown => markdown::write(&report, false, &mut page)?,
            Format::Github => markdown::write(&report, true, &mut page)?,
            Format::Html | Format::Perfetto => html::write(&report, &mut page)?,
        }
    }
    match args.output {
        None => view.out.write_all(&page)?,
        Some(path) => {
            let plain = anstream::adapter::strip_bytes(&page).into_vec();
            std::fs::write(&path, plain).map_err(|e| Fail::Failed(format!("{}: {e}", path.display())))?;
            writeln!(view.err, "Wrote {}.", path.display())?;
        }
    }
    Ok(Done::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::testing::event;

    /// Guards: what ran at the same time never shares a lane, and a lane is used again when it is free.
    #[test]
    fn lanes() {
        let at = |end: u64, seconds: f64| Event { ms: seconds * 1000.0, ..event("a", Outcome::Miss, end) };
        let events = [at(10, 5.0), at(9, 1.0), at(12, 2.0), at(8, 2.5), at(13, 100.0)];
        let units = timeline(&events.iter().collect::<Vec<_>>());
        let lanes: Vec<_> = units.iter().map(|u| (u.begin_ms / 1000.0, u.lane)).collect();
        assert_eq!(lanes, [(0.0, 0), (5.0, 1), (5.5, 2), (8.0, 2), (10.0, 1)]);
    }

    /// Guards: a build of which a part is shown says so.
    #[test]
    fn parts_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = kache_store::Store::new(dir.path(), None);
        ["a", "b", "c"].iter().zip(10..).for_each(|(name, time)| store.append_event(&event(name, Outcome::Hit, time)));
        let Ok(index) = Index::passing(&store, &mut crate::view::testing::view().0) else { panic!("index") };
        for (most, told) in
            [(3, "3 of 3 lookups restored"), (2, "2 of 2 lookups restored, of its newest 2 invocations")]
        {
            let Ok((Some(last), cut)) = index.last_build(0, most) else { panic!("a build") };
            assert_eq!(Build::of(last, cut).restored(), told);
        }
    }
}
