//! The index: what commands for people ask about entries and events, answered without reading all of either.
//!
//! A SQLite file beside the records it is made from. The event log and the entries stay the truth: of an event only its
//! place in the log is kept, and sums by the hour. Before each question the index is brought up to date by what is new in
//! the log and in directories that changed. Lost, damaged or of another version, it is made anew, and that is said; where
//! it can't be written, a private one is made for the moment. No build reads or writes it. Knows nothing about
//! presentation.

use crate::fail::Fail;
use crate::format::size;
use crate::history::{Build, builds, is_query, package};
use crate::view::View;
use kache_key::Digest;
use kache_store::event::DAY_MS;
use kache_store::{Day, Event, Found, KINDS, Outcome, SHARDS, Store, Usage};
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, params};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::ops::Range;
use std::path::Path;

/// Raise it when a table changes: an index of another version is made anew.
const VERSION: i64 = 4;

const HOUR_MS: u64 = 3_600_000;

/// So many events are taken in before they are written: bounds the memory.
const BATCH: usize = 50_000;

/// A directory that changed this recently may change again without another time to show for it.
const UNSETTLED_MS: i64 = 1000;

/// Links into build trees come and go without a sign at the blob's directory; it is looked at again after this.
const LINKS_STALE_MS: u64 = 600_000;

const TABLES: &str = "
create table files (day integer primary key, read integer not null, tail blob not null);
create table spans (hour integer not null, day integer not null, at integer not null, end integer not null,
    n integer not null, primary key (hour, day)) without rowid;
create table sums (hour integer not null, outcome integer not null, action text not null, reason text not null,
    n integer not null, saved_ms real not null, tool_ms real not null,
    linked real not null, cloned real not null, copied real not null,
    primary key (hour, outcome, action, reason)) without rowid;
create table misses (tool_ms integer not null, time integer not null, day integer not null, at integer not null,
    end integer not null, primary key (tool_ms, time, day, at)) without rowid;
create table reasons (outcome integer not null, reason text not null, time integer not null, day integer not null,
    at integer not null, end integer not null, primary key (outcome, reason, time, day, at)) without rowid;
create table uses (unit integer not null, time integer not null, day integer not null, at integer not null,
    end integer not null, primary key (unit, time, day, at)) without rowid;
create table words (word integer not null, unit integer not null, primary key (word, unit)) without rowid;
create table entries (key blob primary key, name text not null, unit text not null, action text not null,
    size integer, blobs integer not null, files integer not null, tool_ms integer not null, used integer not null, hits integer not null);
create index entries_name on entries (name, used desc) where size is not null;
create index entries_size on entries (size) where size is not null;
create index entries_used on entries (used) where size is not null;
create index entries_hits on entries (hits) where size is not null;
create table shards (kind integer not null, number integer not null, changed integer not null, looked integer not null,
    files integer not null, size real not null, disk real not null, linked real not null,
    primary key (kind, number)) without rowid;
";

/// What keeps the index from answering.
pub enum Trouble {
    Database(rusqlite::Error),
    Log(std::io::Error),
    /// The log is not the one that was read.
    Rewritten,
}

impl From<rusqlite::Error> for Trouble {
    fn from(e: rusqlite::Error) -> Trouble {
        Trouble::Database(e)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(e: std::io::Error) -> Trouble {
        Trouble::Log(e)
    }
}

/// Whether the file is in the way of an answer, not the machine.
fn is_damage(error: &rusqlite::Error) -> bool {
    use ErrorCode::*;
    match error.sqlite_error_code() {
        Some(code) => matches!(code, DatabaseCorrupt | NotADatabase | TypeMismatch | Unknown | ConstraintViolation),
        // What was read is not of the type that was written.
        None => true,
    }
}

/// Sums of events that ended alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    pub n: u64,
    /// Milliseconds of compiling that restoring spared.
    pub saved_ms: f64,
    pub tool_ms: f64,
    pub linked: f64,
    pub cloned: f64,
    pub copied: f64,
}

impl Sum {
    fn add(&mut self, other: &Sum) {
        self.n += other.n;
        self.saved_ms += other.saved_ms;
        self.tool_ms += other.tool_ms;
        self.linked += other.linked;
        self.cloned += other.cloned;
        self.copied += other.copied;
    }

    fn of(event: &Event) -> Sum {
        let restored = matches!(event.outcome, Outcome::Hit | Outcome::Dup);
        let saved_ms = if restored { (event.tool_ms as f64 - event.ms.max(0.0)).max(0.0) } else { 0.0 };
        let [tool_ms, linked, cloned, copied] =
            [event.tool_ms, event.linked, event.cloned, event.copied].map(|v| v as f64);
        Sum { n: 1, saved_ms, tool_ms, linked, cloned, copied }
    }
}

/// Outcome, action and reason (empty: none).
pub type Kind = (Outcome, String, String);

fn kind_of(event: &Event) -> Kind {
    (event.outcome, event.action.clone(), event.reason.clone().unwrap_or_default())
}

const OUTCOMES: [Outcome; 6] =
    [Outcome::Hit, Outcome::Dup, Outcome::Miss, Outcome::Passthrough, Outcome::Skipped, Outcome::Error];

fn number_of(outcome: Outcome) -> i64 {
    outcome as i64
}

fn outcome_of(number: i64) -> rusqlite::Result<Outcome> {
    let found = usize::try_from(number).ok().and_then(|n| OUTCOMES.get(n).copied());
    found.ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
}

/// An entry of the store, as it is listed.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Listed {
    pub key: String,
    pub name: String,
    pub unit: String,
    pub action: String,
    /// Bytes it restores.
    #[serde(rename = "size_bytes")]
    pub size: u64,
    /// What it restores: files, links and directories.
    #[serde(skip)]
    pub files: u32,
    pub tool_ms: u64,
    /// Milliseconds since the epoch.
    #[serde(rename = "used_ms")]
    pub used: u64,
    /// Times it was restored, as far as the log tells.
    pub hits: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// By crate
    Name,
    /// Largest first
    Size,
    /// Most often restored first
    Hits,
    /// Used most recently first
    Age,
}

/// What the store holds, and what it would take if nothing were shared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Holdings {
    pub usage: Usage,
    /// Bytes that entries name, each time they do.
    pub named_bytes: u64,
    /// The same bytes, stored once.
    pub unique_bytes: u64,
}

/// A line of the log.
#[derive(Clone, Debug)]
struct Place {
    day: u64,
    at: Range<u64>,
}

/// Whose events are asked for.
#[derive(Clone, Copy)]
pub enum Of<'a> {
    Unit(&'a str),
    /// A crate, a package, the name of a source or of an output.
    Word(&'a str),
    /// Of the same action, crate and package as this one.
    Like(&'a Event),
}

/// So many events of one unit or word are looked at.
const MOST_USES: usize = 5000;

/// What stands for a text: 64 bits of its digest. Who asks looks at the events.
fn id(text: &str) -> i64 {
    let digest = Digest::of(text.as_bytes());
    i64::from_le_bytes(std::array::from_fn(|at| digest.as_bytes()[at]))
}

/// cargo writes a package's hyphens as underscores in its crates' names.
fn word_id(word: &str) -> i64 {
    id(&word.replace('_', "-"))
}

/// Tells what [`Of::Like`] asks for: all build scripts are compiled as a crate of one name.
fn like_id(event: &Event) -> i64 {
    let package = event.source.as_deref().map(package).unwrap_or_default().join("/");
    id(&format!("{}\0{}\0{package}", event.action, event.name))
}

pub struct Index<'s> {
    store: &'s Store,
    db: Connection,
    days: Vec<Day>,
    /// There was none before.
    made: bool,
    /// Days of the log that events were read from one by one.
    logs: RefCell<HashMap<u64, std::fs::File>>,
}

impl<'s> Index<'s> {
    /// The index, up to date.
    pub fn open(store: &'s Store, view: &mut View) -> Result<Index<'s>, Fail> {
        let path = store.index_path();
        if !store.root().is_dir() {
            return Index::at(store, None, view).map_err(|e| told(&path, e));
        }
        let why = match Index::at(store, Some(&path), view) {
            Ok(index) => {
                if index.made && !index.days.is_empty() {
                    writeln!(view.err, "kache: there was no index: it was made from the log")?;
                }
                return Ok(index);
            }
            Err(Trouble::Log(e)) => return Err(told(&path, Trouble::Log(e))),
            Err(Trouble::Rewritten) => "the event log is not the one it was made from".to_string(),
            Err(Trouble::Database(e)) if is_damage(&e) => format!("it is damaged or of another version ({e})"),
            Err(Trouble::Database(e)) => return Index::private(store, &path, &e, view),
        };
        writeln!(view.err, "kache: the index is built anew: {why}")?;
        // What can't be removed can't be opened either, which is told then.
        let _ = std::fs::remove_file(&path);
        match Index::at(store, Some(&path), view) {
            Err(Trouble::Database(e)) => Index::private(store, &path, &e, view),
            other => other.map_err(|e| told(&path, e)),
        }
    }

    /// One for the moment, where the real one can't be.
    fn private(store: &'s Store, path: &Path, why: &rusqlite::Error, view: &mut View) -> Result<Index<'s>, Fail> {
        writeln!(view.err, "kache: no index can be kept in {} ({why}): reading everything", path.display())?;
        Index::at(store, None, view).map_err(|e| told(path, e))
    }

    /// One of a store that is not kept.
    pub fn passing(store: &'s Store, view: &mut View) -> Result<Index<'s>, Fail> {
        Index::at(store, None, view).map_err(|e| told(&store.index_path(), e))
    }

    fn at(store: &'s Store, path: Option<&Path>, view: &mut View) -> Result<Index<'s>, Trouble> {
        // Without a name SQLite keeps it in a file of its own, which vanishes.
        let db = Connection::open(path.unwrap_or(Path::new("")))?;
        db.busy_timeout(std::time::Duration::from_secs(60))?;
        // Derived data: losing the newest part at a power cut costs reading it again.
        db.execute_batch("pragma synchronous = normal; pragma cache_size = -64000; pragma trusted_schema = off;")?;
        db.execute_batch("begin immediate")?;
        // Looked at behind the lock: another process may have read further than the log went before.
        let days = store.event_days()?;
        let mut index = Index { store, db, days, made: false, logs: RefCell::default() };
        match index.db.query_row("pragma user_version", [], |r| r.get::<_, i64>(0))? {
            VERSION => {}
            0 => {
                index.made = true;
                index.db.execute_batch(TABLES)?;
                index.db.pragma_update(None, "user_version", VERSION)?;
            }
            _ => return Err(Trouble::Database(rusqlite::Error::InvalidQuery)),
        }
        let came = index.take_events(view)?;
        let changed = index.take_records(came, view)?;
        if came || changed {
            // Of what the log knows and the store no longer holds nothing is listed.
            index.db.execute("delete from entries where size is null", [])?;
        }
        index.db.execute_batch("commit")?;
        view.progress_done();
        Ok(index)
    }

    // --- bringing it up to date ------------------------------------------------------------------------------------

    /// What is new in the log; whether something was.
    fn take_events(&mut self, view: &mut View) -> Result<bool, Trouble> {
        let mut known: HashMap<u64, (u64, Vec<u8>)> = HashMap::new();
        {
            let mut rows = self.db.prepare("select day, read, tail from files")?;
            let mut rows = rows.query([])?;
            while let Some(r) = rows.next()? {
                known.insert(r.get::<_, i64>(0)? as u64, (r.get::<_, i64>(1)? as u64, r.get(2)?));
            }
        }
        let mut came = false;
        for day in &self.days {
            let (from, tail) = known.remove(&day.number).unwrap_or((0, Vec::new()));
            if day.size < from || (from > 0 && day.tail(from)?.as_bytes()[..] != tail[..]) {
                return Err(Trouble::Rewritten);
            }
            if day.size > from {
                came = true;
                self.take_day(day, from, view)?;
            }
        }
        // Gone by age.
        for day in known.into_keys() {
            let day = day as i64;
            for table in ["files", "spans", "misses", "reasons", "uses"] {
                self.db.execute(&format!("delete from {table} where day = ?"), [day])?;
            }
            self.db.execute("delete from words where unit not in (select unit from uses)", [])?;
            self.db.execute("delete from sums where hour / 24 = ?", [day])?;
        }
        Ok(came)
    }

    fn take_day(&self, day: &Day, from: u64, view: &mut View) -> Result<(), Trouble> {
        let mut batch = Batch::default();
        let mut failed = Ok(());
        let end = day.read(from, u64::MAX, |at, event| {
            if event.time / DAY_MS != day.number || failed.is_err() {
                return;
            }
            view.progress(|| format!("indexing events: {} of {}", size(at.end), size(day.size)));
            batch.add(at, event);
            if batch.count >= BATCH {
                failed = std::mem::take(&mut batch).write(&self.db, day.number);
            }
        })?;
        failed?;
        batch.write(&self.db, day.number)?;
        let tail = day.tail(end)?;
        let row = params![number(day.number), number(end), &tail.as_bytes()[..]];
        self.db.execute("insert or replace into files values (?, ?, ?)", row)?;
        Ok(())
    }

    /// What is new in the store's directories; whether something was.
    fn take_records(&self, came: bool, view: &mut View) -> Result<bool, Trouble> {
        let now = Event::now_ms();
        let mut known: HashMap<(usize, u16), (i64, u64)> = HashMap::new();
        {
            let mut rows = self.db.prepare("select kind, number, changed, looked from shards")?;
            let mut rows = rows.query([])?;
            while let Some(r) = rows.next()? {
                let at = (r.get::<_, u16>(0)?.into(), r.get(1)?);
                known.insert(at, (r.get(2)?, r.get::<_, i64>(3)? as u64));
            }
        }
        let mut any = false;
        for (kind, number) in (0..KINDS.len()).flat_map(|k| (0..SHARDS).map(move |n| (k, n))) {
            let stamp = self.store.shard_changed(KINDS[kind], number);
            let seen = known.get(&(kind, number));
            let Some(stamp) = stamp else {
                if seen.is_some() {
                    self.take_shard(kind, number, 0, now)?;
                    any = true;
                }
                continue;
            };
            let links_stale = |looked: u64| KINDS[kind] == "blobs" && (came || looked + LINKS_STALE_MS < now);
            let changed = stamp.sec.saturating_mul(1_000_000_000).saturating_add(stamp.nsec.into());
            if seen.is_some_and(|(then, looked)| *then == changed && !links_stale(*looked)) {
                continue;
            }
            any = true;
            let settled = now as i64 - changed / 1_000_000 > UNSETTLED_MS;
            self.take_shard(kind, number, if settled { changed } else { -1 }, now)?;
            view.progress(|| format!("indexing {}: {} of {SHARDS}", KINDS[kind], number));
        }
        Ok(any)
    }

    fn take_shard(&self, kind: usize, number: u16, changed: i64, now: u64) -> Result<(), Trouble> {
        let found = self.store.shard(KINDS[kind], number);
        if KINDS[kind] == "entries" {
            self.take_entries(number, &found)?;
        }
        let total = |of: fn(&Found) -> u64| found.iter().map(of).sum::<u64>() as f64;
        let disk = |f: &Found| f.meta.blocks * 512;
        let linked = total(|f| if f.meta.links > 1 { f.meta.blocks * 512 } else { 0 });
        self.db.prepare("insert or replace into shards values (?, ?, ?, ?, ?, ?, ?, ?)")?.execute(params![
            kind as i64,
            number,
            changed,
            now as i64,
            found.len() as i64,
            total(|f| f.meta.size),
            found.iter().map(disk).sum::<u64>() as f64,
            linked,
        ])?;
        Ok(())
    }

    fn take_entries(&self, shard: u16, found: &[Found]) -> Result<(), Trouble> {
        let mut known: HashSet<Vec<u8>> = HashSet::new();
        {
            let mut rows = self
                .db
                .prepare("select key from entries where key >= ?1 and (?2 is null or key < ?2) and size is not null")?;
            let bound = |n: u16| u8::try_from(n).map_or(Value::Null, |n| Value::Blob(vec![n]));
            let mut rows = rows.query(params![bound(shard), bound(shard + 1)])?;
            while let Some(r) = rows.next()? {
                known.insert(r.get(0)?);
            }
        }
        let mut renew = self.db.prepare("update entries set used = ?2 where key = ?1 and used < ?2")?;
        let mut named = self.db.prepare("select 1 from entries where key = ?")?;
        let mut add = self.db.prepare("insert into entries values (?, ?, ?, '', null, 0, 0, 0, 0, 0)")?;
        let mut fill = self.db.prepare(
            "update entries set size = ?2, blobs = ?3, tool_ms = ?4, used = max(used, ?5), files = ?6 where key = ?1",
        )?;
        let mut gone = self.db.prepare("delete from entries where key = ?")?;
        for (file, digest) in found.iter().filter_map(|f| Some((f, f.digest?))) {
            let (key, used) = (&digest.as_bytes()[..], file.meta.mtime.sec.saturating_mul(1000));
            if known.remove(key) {
                renew.execute(params![key, used])?;
                continue;
            }
            let Some(entry) = self.store.entry(&digest) else { continue };
            if !named.exists([key])? {
                // Older than the log.
                let (name, unit) = self.store.inputs(&digest).map_or_else(Default::default, |i| (i.name, i.unit));
                add.execute(params![key, name, unit])?;
            }
            let blobs: u64 = entry.blobs().map(|(_, size)| size).sum();
            let size = blobs + entry.inline_bytes();
            let files = entry.outputs.len() as u64;
            fill.execute(params![key, number(size), number(blobs), number(entry.tool_ms), used, number(files)])?;
        }
        for key in known {
            gone.execute([key])?;
        }
        Ok(())
    }

    // --- questions ---------------------------------------------------------------------------------------------------

    pub fn store(&self) -> &Store {
        self.store
    }

    /// Asks, and asks once more of a new index when the present one turns out to be damaged.
    pub fn ask<T>(&mut self, view: &mut View, question: impl Fn(&Index) -> Result<T, Trouble>) -> Result<T, Fail> {
        let path = self.store.index_path();
        match question(self) {
            Err(Trouble::Database(e)) if is_damage(&e) => {
                writeln!(view.err, "kache: the index is built anew: it is damaged ({e})")?;
                let _ = std::fs::remove_file(&path);
                *self = Index::at(self.store, Some(&path), view)
                    .or_else(|_| Index::at(self.store, None, view))
                    .map_err(|e| told(&path, e))?;
                question(self).map_err(|e| told(&path, e))
            }
            other => other.map_err(|e| told(&path, e)),
        }
    }

    /// Sums since then, by how events ended.
    pub fn sums(&self, since: u64) -> Result<BTreeMap<Kind, Sum>, Trouble> {
        let mut sums: BTreeMap<Kind, Sum> = BTreeMap::new();
        let whole = since.div_ceil(HOUR_MS);
        let mut rows = self.db.prepare(
            "select outcome, action, reason, sum(n), sum(saved_ms), sum(tool_ms), sum(linked), sum(cloned), sum(copied)
             from sums where hour >= ? group by outcome, action, reason",
        )?;
        let mut rows = rows.query([number(whole)])?;
        while let Some(r) = rows.next()? {
            let sum = Sum {
                n: r.get::<_, i64>(3)? as u64,
                saved_ms: r.get(4)?,
                tool_ms: r.get(5)?,
                linked: r.get(6)?,
                cloned: r.get(7)?,
                copied: r.get(8)?,
            };
            sums.insert((outcome_of(r.get(0)?)?, r.get(1)?, r.get(2)?), sum);
        }
        // The hour in which it begins is counted event by event.
        if !since.is_multiple_of(HOUR_MS) {
            self.each_in(since / HOUR_MS, &mut |event| {
                if event.time >= since {
                    sums.entry(kind_of(&event)).or_default().add(&Sum::of(&event));
                }
            })?;
        }
        Ok(sums)
    }

    /// How many events ended how in each step of so many hours: (its beginning in milliseconds, outcome, number).
    /// Questions to compilers about themselves are left out.
    pub fn course(&self, since: u64, hours: u64) -> Result<Vec<(u64, Outcome, u64)>, Trouble> {
        let mut rows = self.db.prepare(
            "select hour / ?2, outcome, sum(n) from sums
             where hour >= ?1 and action <> 'query' and reason <> 'query' group by 1, 2 order by 1, 2",
        )?;
        let mut rows = rows.query([number(since / HOUR_MS), number(hours)])?;
        let mut course = Vec::new();
        while let Some(r) = rows.next()? {
            let begin = r.get::<_, i64>(0)? as u64 * hours * HOUR_MS;
            course.push((begin, outcome_of(r.get(1)?)?, r.get::<_, i64>(2)? as u64));
        }
        Ok(course)
    }

    /// The misses that took longest, longest first.
    pub fn slowest(&self, since: u64, top: usize) -> Result<Vec<Event>, Trouble> {
        let sql = "select day, at, end from misses where time >= ? order by tool_ms desc limit ?";
        self.events(&self.places(sql, params![number(since), top as i64])?)
    }

    /// The newest events with this outcome and reason.
    pub fn examples(&self, outcome: Outcome, reason: &str, since: u64, most: usize) -> Result<Vec<Event>, Trouble> {
        let sql = "select day, at, end from reasons where outcome = ? and reason = ? and time >= ? \
                   order by time desc limit ?";
        self.events(&self.places(sql, params![number_of(outcome), reason, number(since), most as i64])?)
    }

    /// Hands over the events of a unit, or of all that a word is about, newest first, until it is enough.
    pub fn each_use(&self, of: Of, before: u64, take: &mut dyn FnMut(Event) -> bool) -> Result<(), Trouble> {
        const OF_WORD: &str = "unit in (select unit from words where word = ?1)";
        let (which, id) = match of {
            Of::Unit(unit) => ("unit = ?1", id(unit)),
            Of::Word(word) => (OF_WORD, word_id(word)),
            Of::Like(event) => (OF_WORD, like_id(event)),
        };
        let sql =
            format!("select day, at, end from uses where {which} and time < ?2 order by time desc, day desc, at desc");
        let mut rows = self.db.prepare(&sql)?;
        let mut rows = rows.query(params![id, number(before)])?;
        for _ in 0..MOST_USES {
            let Some(r) = rows.next()? else { break };
            let [day, at, end] = [r.get::<_, i64>(0)?, r.get(1)?, r.get(2)?].map(|n| n as u64);
            if self.event(day, &(at..end))?.is_some_and(|e| !take(e)) {
                break;
            }
        }
        Ok(())
    }

    /// The newest events of a time, oldest first, and whether older ones of it were left out.
    pub fn newest(&self, time: Range<u64>, most: usize) -> Result<(Vec<Event>, bool), Trouble> {
        let mut rows = self.db.prepare("select hour, n from spans where hour between ? and ? order by hour desc")?;
        let mut rows = rows.query([number(time.start / HOUR_MS), number(time.end / HOUR_MS)])?;
        let (mut hours, mut count) = (Vec::new(), 0);
        while let Some(r) = rows.next()?.filter(|_| count <= most) {
            hours.push(r.get::<_, i64>(0)? as u64);
            count += r.get::<_, i64>(1)? as usize;
        }
        let mut events = std::collections::VecDeque::new();
        let mut cut = false;
        for hour in hours.into_iter().rev() {
            self.each_in(hour, &mut |event| {
                if time.contains(&event.time) {
                    events.push_back(event);
                }
                if events.len() > most {
                    events.pop_front();
                    cut = true;
                }
            })?;
        }
        Ok((events.into(), cut))
    }

    /// The build that ended last since then, as far as the newest events tell, and whether it may have begun before them.
    pub fn last_build(&self, since: u64, most: usize) -> Result<(Option<Build>, bool), Trouble> {
        let (events, cut) = self.newest(since..u64::MAX, most)?;
        let oldest = events.first().map(|e| e.time);
        let last = builds(events).pop();
        let whole = last.as_ref().is_none_or(|b| b.events.first().map(|e| e.time) > oldest);
        Ok((last, cut && !whole))
    }

    /// The entries of the store, those in `part` of the list. `name`: only of this crate or package.
    pub fn entries(&self, name: Option<&str>, sort: Sort, part: Range<u32>) -> Result<Vec<Listed>, Trouble> {
        let mut entries = Vec::new();
        self.each_entry(name, sort, part, &mut |entry| entries.push(entry))?;
        Ok(entries)
    }

    pub fn each_entry(
        &self,
        name: Option<&str>,
        sort: Sort,
        part: Range<u32>,
        take: &mut dyn FnMut(Listed),
    ) -> Result<(), Trouble> {
        let order = match sort {
            Sort::Name => "name, used desc",
            Sort::Size => "size desc",
            Sort::Hits => "hits desc",
            Sort::Age => "used desc",
        };
        // cargo writes a package's hyphens as underscores in its crates' names.
        let which = match name {
            Some(_) => "name in (?1, replace(?1, '-', '_'), replace(?1, '_', '-'))",
            None => "?1 is null",
        };
        let mut rows = self.db.prepare(&format!(
            "select key, name, unit, action, size, files, tool_ms, used, hits from entries
             where size is not null and {which} order by {order} limit ?2 offset ?3"
        ))?;
        let mut rows = rows.query(params![name, part.end - part.start, part.start])?;
        while let Some(r) = rows.next()? {
            let count = |at| r.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
            let key = <[u8; 32]>::try_from(r.get_ref(0)?.as_blob().unwrap_or_default());
            let key = key.map_err(|_| rusqlite::Error::InvalidQuery)?;
            take(Listed {
                key: Digest::from_bytes(key).hex(),
                name: r.get(1)?,
                unit: r.get(2)?,
                action: r.get(3)?,
                size: count(4)?,
                files: u32::try_from(count(5)?).unwrap_or(u32::MAX),
                tool_ms: count(6)?,
                used: count(7)?,
                hits: count(8)?,
            });
        }
        Ok(())
    }

    pub fn holdings(&self) -> Result<Holdings, Trouble> {
        let mut holdings = Holdings::default();
        let usage = &mut holdings.usage;
        let mut rows =
            self.db.prepare("select kind, sum(files), sum(size), sum(disk), sum(linked) from shards group by kind")?;
        let mut rows = rows.query([])?;
        while let Some(r) = rows.next()? {
            let kind = KINDS.get(r.get::<_, u16>(0)? as usize).copied().unwrap_or_default();
            let files = r.get::<_, i64>(1)? as u64;
            let [size, disk, linked] = [r.get::<_, f64>(2)?, r.get(3)?, r.get(4)?].map(|v: f64| v as u64);
            if kind == "blobs" {
                (usage.blobs, usage.blob_bytes, usage.linked_bytes) = (files, disk, linked);
                holdings.unique_bytes = size;
            } else {
                usage.record_bytes += disk;
            }
            if kind == "entries" {
                usage.entries = files;
            }
        }
        usage.blob_bytes += self.store.spare_bytes();
        let sum = "select total(blobs) from entries where size is not null";
        holdings.named_bytes = self.db.query_row(sum, [], |r| r.get::<_, f64>(0))? as u64;
        Ok(holdings)
    }

    // --- the log -----------------------------------------------------------------------------------------------------

    /// Hands over all events of an hour, as the log has them.
    fn each_in(&self, hour: u64, take: &mut dyn FnMut(Event)) -> Result<(), Trouble> {
        let place = self.places("select day, at, end from spans where hour = ?", params![number(hour)])?;
        for (place, day) in place.iter().filter_map(|p| Some((p, self.day(p.day)?))) {
            day.read(place.at.start, place.at.end, |_, event| {
                if event.time / HOUR_MS == hour {
                    take(event);
                }
            })?;
        }
        Ok(())
    }

    fn day(&self, number: u64) -> Option<&Day> {
        self.days.iter().find(|d| d.number == number)
    }

    fn places(&self, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<Place>, Trouble> {
        let mut rows = self.db.prepare(sql)?;
        let mut rows = rows.query(values)?;
        let mut places = Vec::new();
        while let Some(r) = rows.next()? {
            let [day, at, end] = [r.get::<_, i64>(0)?, r.get(1)?, r.get(2)?].map(|n| n as u64);
            places.push(Place { day, at: at..end });
        }
        Ok(places)
    }

    fn events(&self, places: &[Place]) -> Result<Vec<Event>, Trouble> {
        let found = places.iter().map(|place| self.event(place.day, &place.at));
        Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn event(&self, day: u64, at: &Range<u64>) -> Result<Option<Event>, Trouble> {
        let Some(day) = self.day(day) else { return Ok(None) };
        let mut logs = self.logs.borrow_mut();
        let log = match logs.entry(day.number) {
            std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => free.insert(std::fs::File::open(&day.path)?),
        };
        Ok(Day::line(log, at))
    }
}

/// SQLite's integers have a sign.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub fn told(path: &Path, trouble: Trouble) -> Fail {
    match trouble {
        Trouble::Database(e) => Fail::Failed(format!("{}: {e}", path.display())),
        Trouble::Log(e) => Fail::from(e),
        Trouble::Rewritten => Fail::Failed("the event log changes while it is read".into()),
    }
}

/// What events say of an entry.
#[derive(Default)]
struct Use {
    name: String,
    unit: String,
    action: String,
    used: u64,
    hits: u64,
}

/// Events of one day that were read and not yet written.
#[derive(Default)]
struct Batch {
    count: usize,
    sums: HashMap<(u64, Kind), Sum>,
    spans: HashMap<u64, (Range<u64>, u64)>,
    misses: Vec<(u64, u64, Range<u64>)>,
    reasons: Vec<(Outcome, String, u64, Range<u64>)>,
    events: Vec<(i64, u64, Range<u64>)>,
    words: HashSet<(i64, i64)>,
    uses: HashMap<Digest, Use>,
}

impl Batch {
    fn add(&mut self, at: Range<u64>, event: Event) {
        self.count += 1;
        let hour = event.time / HOUR_MS;
        self.sums.entry((hour, kind_of(&event))).or_default().add(&Sum::of(&event));
        let (span, n) = self.spans.entry(hour).or_insert((at.clone(), 0));
        *span = span.start.min(at.start)..span.end.max(at.end);
        *n += 1;
        if let Some(reason) = &event.reason {
            self.reasons.push((event.outcome, reason.clone(), event.time, at.clone()));
        }
        if event.outcome == Outcome::Miss && !is_query(&event) {
            self.misses.push((event.tool_ms, event.time, at.clone()));
        }
        if !is_query(&event) {
            let unit = id(&event.unit);
            let file = |path: &Option<String>| path.as_deref().and_then(|p| p.rsplit('/').next()).map(word_id);
            let name = [word_id(&event.name), like_id(&event)].map(Some);
            let words = name.into_iter().chain([file(&event.source), file(&event.output)]);
            self.words.extend(words.flatten().map(|word| (word, unit)));
            self.events.push((unit, event.time, at.clone()));
        }
        if let Some(key) = event.key.as_deref().and_then(Digest::from_hex) {
            let known = self.uses.entry(key).or_default();
            known.hits += u64::from(matches!(event.outcome, Outcome::Hit | Outcome::Dup));
            known.used = known.used.max(event.time);
            (known.name, known.unit, known.action) = (event.name, event.unit, event.action);
        }
    }

    fn write(mut self, db: &Connection, day: u64) -> Result<(), Trouble> {
        let day = number(day);
        let mut put = db.prepare(
            "insert into sums values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             on conflict (hour, outcome, action, reason) do update set n = n + excluded.n,
             saved_ms = saved_ms + excluded.saved_ms, tool_ms = tool_ms + excluded.tool_ms,
             linked = linked + excluded.linked, cloned = cloned + excluded.cloned, copied = copied + excluded.copied",
        )?;
        for ((hour, (outcome, action, reason)), s) in self.sums {
            let (hour, outcome, n) = (number(hour), number_of(outcome), number(s.n));
            put.execute(params![
                hour, outcome, action, reason, n, s.saved_ms, s.tool_ms, s.linked, s.cloned, s.copied
            ])?;
        }
        let mut put = db.prepare(
            "insert into spans values (?, ?, ?, ?, ?)
             on conflict (hour, day) do update set at = min(at, excluded.at), end = max(end, excluded.end), n = n + excluded.n",
        )?;
        for (hour, (at, n)) in self.spans {
            put.execute(params![number(hour), day, number(at.start), number(at.end), number(n)])?;
        }
        let mut put = db.prepare("insert or replace into misses values (?, ?, ?, ?, ?)")?;
        for (tool_ms, time, at) in self.misses {
            put.execute(params![number(tool_ms), number(time), day, number(at.start), number(at.end)])?;
        }
        let mut put = db.prepare("insert or replace into reasons values (?, ?, ?, ?, ?, ?)")?;
        for (outcome, reason, time, at) in self.reasons {
            put.execute(params![number_of(outcome), reason, number(time), day, number(at.start), number(at.end)])?;
        }
        let mut put = db.prepare("insert or replace into uses values (?, ?, ?, ?, ?)")?;
        self.events.sort_unstable_by_key(|(unit, time, at)| (*unit, *time, at.start));
        for (unit, time, at) in self.events {
            put.execute(params![unit, number(time), day, number(at.start), number(at.end)])?;
        }
        let mut put = db.prepare("insert or ignore into words values (?, ?)")?;
        for (word, unit) in self.words {
            put.execute([word, unit])?;
        }
        let mut put = db.prepare(
            "insert into entries values (?, ?, ?, ?, null, 0, 0, 0, ?, ?) on conflict (key) do update set
             name = excluded.name, unit = excluded.unit, action = excluded.action,
             used = max(used, excluded.used), hits = hits + excluded.hits",
        )?;
        for (key, u) in self.uses {
            put.execute(params![&key.as_bytes()[..], u.name, u.unit, u.action, number(u.used), number(u.hits)])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::testing::event;
    use crate::view::testing::view;

    fn store(dir: &Path) -> Store {
        Store::new(dir, None)
    }

    fn at(hours: f64, outcome: Outcome) -> Event {
        Event { time: (hours * HOUR_MS as f64) as u64, tool_ms: 1000, ms: 100.0, ..event("a", outcome, 0) }
    }

    /// Guards: sums are those of the events one by one, wherever in an hour the time begins and however often the index was
    /// brought up to date in between.
    #[test]
    fn sums_are_exact() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let hours = [480_000.1, 480_000.6, 480_001.2, 480_030.0, 480_030.9];
        let of = |since: f64| {
            let mut index = Index::open(&store, &mut view().0).unwrap_or_else(|_| panic!("index"));
            let since = (since * HOUR_MS as f64) as u64;
            let sums = index.ask(&mut view().0, |i| i.sums(since)).unwrap_or_else(|_| panic!("sums"));
            (sums.values().map(|s| s.n).sum::<u64>(), sums.values().map(|s| s.saved_ms).sum::<f64>())
        };
        for (n, hour) in hours.into_iter().enumerate() {
            store.append_event(&at(hour, if n == 1 { Outcome::Miss } else { Outcome::Hit }));
            assert_eq!(of(0.0).0, n as u64 + 1);
        }
        assert_eq!(of(0.0), (5, 3600.0));
        assert_eq!(of(480_000.3), (4, 2700.0));
        assert_eq!(of(480_001.0), (3, 2700.0));
        assert_eq!(of(480_030.5), (1, 900.0));
        assert_eq!(of(480_031.0), (0, 0.0));
    }

    /// Guards: a log that is not the one that was read is read again, also when it grew; days that are gone are forgotten.
    #[test]
    fn another_log_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let count = || {
            let mut index = Index::open(&store, &mut view().0).unwrap_or_else(|_| panic!("index"));
            let sums = index.ask(&mut view().0, |i| i.sums(0)).unwrap_or_else(|_| panic!("sums"));
            let newest = index.ask(&mut view().0, |i| i.newest(0..u64::MAX, 100)).unwrap_or_else(|_| panic!("newest"));
            assert_eq!(sums.values().map(|s| s.n).sum::<u64>(), newest.0.len() as u64);
            newest.0.len()
        };
        store.append_event(&at(480_000.0, Outcome::Miss));
        store.append_event(&at(480_100.0, Outcome::Miss));
        assert_eq!(count(), 2);
        let log = store.event_days().unwrap().remove(1).path;
        std::fs::remove_file(&log).unwrap();
        assert_eq!(count(), 1);
        for hour in [480_100.1, 480_100.2, 480_100.3] {
            store.append_event(&at(hour, Outcome::Hit));
        }
        assert_eq!(count(), 4);
        std::fs::remove_file(&log).unwrap();
        for hour in [480_100.5, 480_100.6, 480_100.7, 480_100.8] {
            store.append_event(&at(hour, Outcome::Hit));
        }
        assert_eq!(count(), 5);
        // A line that is being written counts when it is whole.
        let mut text = std::fs::read(&log).unwrap();
        let half = serde_json::to_vec(&at(480_100.9, Outcome::Hit)).unwrap();
        text.extend(&half[..20]);
        std::fs::write(&log, &text).unwrap();
        assert_eq!(count(), 5);
        text.extend(&half[20..]);
        text.push(b'\n');
        std::fs::write(&log, &text).unwrap();
        assert_eq!(count(), 6);
    }

    /// Guards: whatever stands in the index's file, the answers are those of the log.
    #[test]
    fn damage_is_survived_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        (0..200).for_each(|n| store.append_event(&at(480_000.0 + f64::from(n) / 100.0, Outcome::Miss)));
        let count = |told: bool| {
            let (mut looking, _) = view();
            let notes = crate::view::testing::Paper::default();
            looking.err = Box::new(notes.clone());
            let mut index = Index::open(&store, &mut looking).unwrap_or_else(|_| panic!("index"));
            let sums = index.ask(&mut looking, |i| i.sums(0)).unwrap_or_else(|_| panic!("sums"));
            let slow = index.ask(&mut looking, |i| i.slowest(0, 5)).unwrap_or_else(|_| panic!("slowest"));
            assert_eq!((sums.values().map(|s| s.n).sum::<u64>(), slow.len()), (200, 5));
            assert_eq!(notes.text().contains("index"), told, "{}", notes.text());
        };
        count(true);
        count(false);
        let good = std::fs::read(store.index_path()).unwrap();
        for n in 0..good.len() / 512 {
            let mut bad = good.clone();
            bad[n * 512..][..512].fill(0xa5);
            std::fs::write(store.index_path(), &bad).unwrap();
            let (mut looking, _) = view();
            let mut index = Index::open(&store, &mut looking).unwrap_or_else(|_| panic!("index, {n}"));
            assert!(index.ask(&mut looking, |i| i.sums(0)).is_ok());
            assert!(index.ask(&mut looking, |i| i.holdings()).is_ok());
        }
        for bad in [&b"no database"[..], &good[..1000], &[]] {
            std::fs::write(store.index_path(), bad).unwrap();
            count(true);
            count(false);
        }
        std::fs::remove_file(store.index_path()).unwrap();
        count(true);
    }
    /// Guards: who waits while another process reads a growing log to its end goes on from there, and says nothing.
    #[test]
    fn indexing_at_once() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.append_event(&at(480_000.0, Outcome::Miss));
        drop(Index::open(&store, &mut view().0));
        let inode = || std::fs::metadata(store.index_path()).unwrap().ino();
        let before = inode();
        let other = Connection::open(store.index_path()).unwrap();
        other.execute_batch("begin immediate").unwrap();
        let (send, thread) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                send.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
                let notes = crate::view::testing::Paper::default();
                let (mut looking, _) = view();
                looking.err = Box::new(notes.clone());
                let mut index = Index::open(&store, &mut looking).unwrap_or_else(|_| panic!("index"));
                assert!(index.ask(&mut looking, |i| i.sums(0)).is_ok());
                notes.text()
            });
            // It sleeps between two tries to get the lock.
            let stat = Path::new("/proc").join(thread.recv().unwrap()).join("stat");
            let sleeps = || std::fs::read_to_string(&stat).is_ok_and(|line| line.contains(") S "));
            while !sleeps() && !waiting.is_finished() {
                std::thread::yield_now();
            }
            store.append_event(&at(480_000.1, Outcome::Hit));
            let day = store.event_days().unwrap().remove(0);
            let tail = day.tail(day.size).unwrap();
            let row = params![number(day.size), &tail.as_bytes()[..]];
            other.execute("update files set read = ?, tail = ?", row).unwrap();
            other.execute_batch("commit").unwrap();
            assert_eq!(waiting.join().unwrap(), "");
        });
        assert_eq!(inode(), before);
    }
}
