//! What the monitor shows, as values: events, surveys and keys go in, rows come out. Knows neither terminals nor files.

use crate::history::{Open, Tally, begin, is_probe, is_query, place, sentence};
use crate::screen::Input;
use kache_key::Digest;
use kache_store::{Event, Outcome, Usage};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

/// Finished compiles that can be scrolled to. Sums go on counting what is dropped.
const LOG: usize = 5000;

/// Texts come from other processes: longer ones say no more.
const TEXT: usize = 400;

/// How long a trouble shows that is not told again.
const TROUBLE_MS: u64 = 10_000;

/// Different things one reason was about, of which examples are kept.
const SAMPLES: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tab {
    Build,
    Projects,
    Store,
    Transfer,
    Passthrough,
}

impl Tab {
    pub const ALL: [Tab; 5] = [Tab::Build, Tab::Projects, Tab::Store, Tab::Transfer, Tab::Passthrough];

    pub fn title(self) -> &'static str {
        ["Build", "Projects", "Store", "Transfer", "Passthrough"][self as usize]
    }
}

/// Lookups and the compile time behind them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    pub tally: Tally,
    pub restored_ms: u64,
    pub missed_ms: u64,
    /// Compile time of what was restored, less what restoring took.
    pub saved_ms: f64,
    pub linked: u64,
    pub cloned: u64,
    pub copied: u64,
}

impl Sums {
    fn add(&mut self, event: &Event) {
        self.tally.add(event.outcome, 1);
        match event.outcome {
            Outcome::Hit | Outcome::Dup => {
                self.restored_ms = self.restored_ms.saturating_add(event.tool_ms);
                self.saved_ms += (event.tool_ms as f64 - event.ms.max(0.0)).max(0.0);
            }
            Outcome::Miss => self.missed_ms = self.missed_ms.saturating_add(event.tool_ms),
            Outcome::Passthrough | Outcome::Skipped | Outcome::Error => {}
        }
        self.linked = self.linked.saturating_add(event.linked);
        self.cloned = self.cloned.saturating_add(event.cloned);
        self.copied = self.copied.saturating_add(event.copied);
    }
}

/// One invocation that ended.
#[derive(Clone, Debug)]
pub struct Finished {
    pub time: u64,
    pub outcome: Outcome,
    pub action: String,
    pub name: String,
    pub unit: String,
    pub why: Option<(String, String)>,
    pub stored: bool,
    pub ms: f64,
    pub tool_ms: u64,
    pub place: String,
    pub key: Option<Digest>,
}

/// One that goes on: a compiler is at work for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub pid: u32,
    pub action: &'static str,
    pub name: String,
    pub age: Duration,
}

/// The invocations of one cargo run, so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Build {
    pub begin: u64,
    pub end: u64,
    pub sums: Sums,
}

/// A build directory.
#[derive(Clone, Debug, Default)]
pub struct Project {
    pub build: Build,
    open: Open,
    /// The newest key of each unit; none where there was nothing to look up or to store.
    units: HashMap<(String, String), (Option<Digest>, u64)>,
}

/// Uses of one entry.
#[derive(Clone, Debug, Default)]
struct Uses {
    hits: u64,
    name: String,
    last: u64,
}

/// What was not cached for one reason.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub count: u64,
    pub last: u64,
    pub ms: u64,
    /// What it was about, and how often.
    pub about: BTreeMap<String, u64>,
}

/// What lies in the store.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    pub usage: Usage,
    pub max_size: u64,
    pub entries: HashMap<Digest, Held>,
    /// Build directories that are no longer there.
    pub gone: HashSet<String>,
}

/// One entry of the store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    pub bytes: u64,
    pub outputs: u32,
    pub tool_ms: u64,
    pub used_ms: u64,
}

/// News for the model.
pub enum News {
    Events(Vec<Event>),
    /// All that is in the log was handed over.
    CaughtUp,
    /// The log was begun anew.
    Forget,
    Running(Vec<Running>),
    Survey(Survey),
    Trouble(String),
}

/// Where things were drawn last: what a press or a page means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Row, first and last column of each tab's title.
    pub tabs: Vec<(u16, u16, u16, Tab)>,
    /// First column and row, width and height of the list.
    pub list: (u16, u16, u16, u16),
    /// The list's item in its first row.
    pub offset: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Size,
    Hits,
    Used,
}

/// A row of the Projects tab.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectRow {
    pub dir: String,
    pub last: u64,
    pub sums: Sums,
    pub units: usize,
    pub held: usize,
    pub held_bytes: u64,
    pub held_ms: u64,
    pub all_ms: u64,
    pub gone: bool,
    /// Units the store can't give back.
    pub missing: Vec<String>,
}

/// A row of the Store tab.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryRow<'m> {
    pub key: Digest,
    /// Empty: none of its events is known.
    pub name: &'m str,
    pub held: (u64, u32),
    pub hits: u64,
    pub tool_ms: u64,
    pub used_ms: u64,
}

pub struct Model {
    /// Milliseconds since the epoch.
    pub now: u64,
    pub cache: String,
    /// The span that is summed up: `the last 7 days`.
    pub span: String,
    pub tab: Tab,
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    pub help: bool,
    pub done: bool,
    pub order: Order,
    pub cursors: [usize; 5],
    pub drawn: Drawn,
    pub reading: bool,
    pub total: Sums,
    pub running: Vec<Running>,
    pub survey: Option<Survey>,
    /// Told last, and when: said again while it lasts.
    trouble: Option<(String, u64)>,
    listed: Vec<Digest>,
    log: VecDeque<Finished>,
    projects: HashMap<String, Project>,
    current: Option<String>,
    uses: HashMap<Digest, Uses>,
    groups: BTreeMap<(Outcome, String), Group>,
}

/// Control characters would reach the terminal, and no text needs to be long.
fn clean(text: &str) -> String {
    text.chars().take(TEXT).map(|c| if c.is_control() { '·' } else { c }).collect()
}

/// All build scripts are called the same; what they belong to is their package, whose directory cargo compiles them in.
fn name_of(event: &Event) -> String {
    let package = || event.dir.rsplit('/').next().filter(|dir| !dir.is_empty());
    match package().filter(|_| event.name == "build_script_build") {
        Some(package) => format!("{package} build.rs"),
        None => event.name.clone(),
    }
}

impl Model {
    pub fn new(cache: String, span: String) -> Model {
        Model {
            now: 0,
            cache: clean(&cache),
            span,
            tab: Tab::Build,
            filter: String::new(),
            typing: false,
            help: false,
            done: false,
            order: Order::Size,
            cursors: [0; 5],
            drawn: Drawn::default(),
            reading: true,
            total: Sums::default(),
            running: Vec::new(),
            survey: None,
            trouble: None,
            listed: Vec::new(),
            log: VecDeque::new(),
            projects: HashMap::new(),
            current: None,
            uses: HashMap::new(),
            groups: BTreeMap::new(),
        }
    }

    pub fn hear(&mut self, news: News) {
        match news {
            News::Events(events) => events.iter().for_each(|event| self.add(event)),
            News::CaughtUp => self.reading = false,
            News::Forget => {
                self.total = Sums::default();
                self.log.clear();
                self.projects.clear();
                self.current = None;
                self.uses.clear();
                self.groups.clear();
                self.cursors = [0; 5];
            }
            News::Running(mut running) => {
                running.iter_mut().for_each(|r| r.name = clean(&r.name));
                running.sort_by_key(|r| (std::cmp::Reverse(r.age), r.pid));
                self.running = running;
            }
            News::Survey(survey) => {
                self.survey = Some(survey);
                self.arrange();
            }
            News::Trouble(text) => self.trouble = Some((clean(&text), self.now)),
        }
    }

    fn add(&mut self, event: &Event) {
        if is_query(event) {
            return;
        }
        self.total.add(event);
        let finished = Finished {
            time: event.time,
            outcome: event.outcome,
            action: clean(&event.action),
            name: clean(&name_of(event)),
            unit: clean(&event.unit),
            why: event.reason.as_deref().map(|id| (clean(id), clean(event.detail.as_deref().unwrap_or_default()))),
            stored: event.stored,
            ms: event.ms,
            tool_ms: event.tool_ms,
            place: clean(event.build_dir.as_deref().unwrap_or(&event.dir)),
            key: event.key.as_deref().and_then(Digest::from_hex),
        };
        if let Some(key) = finished.key {
            let uses = self.uses.entry(key).or_default();
            uses.hits += u64::from(matches!(event.outcome, Outcome::Hit | Outcome::Dup));
            uses.last = uses.last.max(event.time);
            uses.name.clone_from(&finished.name);
        }
        if let Some((id, detail)) = &finished.why {
            let group = self.groups.entry((event.outcome, id.clone())).or_default();
            group.count += 1;
            group.last = group.last.max(event.time);
            group.ms = group.ms.saturating_add(event.tool_ms);
            let text = if detail.is_empty() { &finished.name } else { detail };
            if group.about.len() < SAMPLES || group.about.contains_key(text) {
                *group.about.entry(text.clone()).or_default() += 1;
            }
        }
        self.add_to_project(event, &finished);
        // A list that is looked at stays where it is while news come in above.
        let cursor = self.cursors[Tab::Build as usize];
        if cursor > 0 && self.shows(&finished) {
            self.cursors[Tab::Build as usize] += 1;
        }
        self.log.push_front(finished);
        self.log.truncate(LOG);
    }

    /// What was passed through before its build directory was known belongs to what was built just before.
    fn add_to_project(&mut self, event: &Event, finished: &Finished) {
        let Some(dir) = place(event).map(clean).or_else(|| self.current.clone()) else { return };
        let project = self.projects.entry(dir.clone()).or_default();
        let is_new = project.open.take(event.clone()).is_some();
        project.build = match is_new {
            true => Build::default(),
            false => project.build,
        };
        let added = if is_new { &project.open.events[..] } else { std::slice::from_ref(event) };
        for event in added {
            let build = &mut project.build;
            build.begin = if build.begin == 0 { begin(event) } else { build.begin.min(begin(event)) };
            build.end = build.end.max(event.time);
            build.sums.add(event);
        }
        // Probes of configure scripts are nothing that anybody wants restored.
        if event.outcome != Outcome::Skipped && !is_probe(event) {
            project.units.insert((finished.unit.clone(), finished.action.clone()), (finished.key, event.tool_ms));
        }
        self.current = Some(dir);
    }

    fn matches(&self, texts: &[&str]) -> bool {
        let wanted = self.filter.to_lowercase();
        wanted.is_empty() || texts.iter().any(|t| t.to_lowercase().contains(&wanted))
    }

    fn shows(&self, f: &Finished) -> bool {
        let (why, detail) = f.why.as_ref().map_or(("", ""), |(id, detail)| (id, detail));
        let outcome = crate::history::outcome_name(f.outcome);
        let told = [why, detail, sentence(why), outcome];
        self.filter.is_empty() || self.matches(&[&f.name, &f.unit, &f.action, &f.place]) || self.matches(&told)
    }

    /// The newest build: its directory and sums.
    pub fn current(&self) -> Option<(&str, &Build)> {
        let dir = self.current.as_deref()?;
        Some((dir, &self.projects.get(dir)?.build))
    }

    /// Newest first.
    pub fn finished(&self) -> Vec<&Finished> {
        self.log.iter().filter(|f| self.shows(f)).collect()
    }

    /// Last built first.
    pub fn projects(&self) -> Vec<ProjectRow> {
        let mut rows: Vec<ProjectRow> = self.projects.iter().map(|(dir, p)| self.project(dir, p)).collect();
        rows.retain(|row| self.matches(&[&row.dir]));
        rows.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.dir.cmp(&b.dir)));
        rows
    }

    fn project(&self, dir: &str, project: &Project) -> ProjectRow {
        let held_of = |key: &Option<Digest>| key.and_then(|k| self.survey.as_ref()?.entries.get(&k));
        let mut row = ProjectRow {
            dir: dir.to_string(),
            last: project.build.end,
            sums: project.build.sums,
            units: project.units.len(),
            held: 0,
            held_bytes: 0,
            held_ms: 0,
            all_ms: 0,
            gone: self.survey.as_ref().is_some_and(|s| s.gone.contains(dir)),
            missing: Vec::new(),
        };
        for ((unit, _), (key, tool_ms)) in &project.units {
            let held = held_of(key);
            // What was passed through has no time in the log, what is held has one in its entry.
            let ms = held.map_or(*tool_ms, |h| h.tool_ms);
            row.all_ms = row.all_ms.saturating_add(ms);
            match held {
                Some(held) => {
                    row.held += 1;
                    row.held_bytes = row.held_bytes.saturating_add(held.bytes);
                    row.held_ms = row.held_ms.saturating_add(ms);
                }
                None => row.missing.push(unit.clone()),
            }
        }
        row.missing.sort();
        row
    }

    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().filter(|(_, told)| self.now < told + TROUBLE_MS).map(|(text, _)| text.as_str())
    }

    pub fn project_dirs(&self) -> Vec<String> {
        self.projects.keys().cloned().collect()
    }

    /// Those that are listed, in the chosen order, largest first.
    pub fn entries(&self) -> &[Digest] {
        &self.listed
    }

    pub fn entry(&self, key: &Digest) -> EntryRow<'_> {
        let held = self.survey.as_ref().and_then(|s| s.entries.get(key)).copied().unwrap_or_default();
        let uses = self.uses.get(key);
        EntryRow {
            key: *key,
            name: uses.map_or("", |u| &u.name),
            held: (held.bytes, held.outputs),
            hits: uses.map_or(0, |u| u.hits),
            tool_ms: held.tool_ms,
            used_ms: uses.map_or(0, |u| u.last).max(held.used_ms),
        }
    }

    /// Sorts what is listed: a store is too large to do so for each frame.
    fn arrange(&mut self) {
        let keys = self.survey.iter().flat_map(|s| s.entries.keys());
        let rows = keys.map(|key| self.entry(key));
        let shown = rows.filter(|row| self.filter.is_empty() || self.matches(&[row.name, &row.key.hex()]));
        let by = |row: EntryRow| match self.order {
            Order::Size => row.held.0,
            Order::Hits => row.hits,
            Order::Used => row.used_ms,
        };
        let mut listed: Vec<_> = shown.map(|row| (row.key, by(row))).collect();
        listed.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.as_bytes().cmp(b.0.as_bytes())));
        self.listed = listed.into_iter().map(|(key, _)| key).collect();
    }

    /// Most frequent first.
    pub fn groups(&self) -> Vec<(Outcome, &str, &Group)> {
        let mut rows: Vec<_> =
            self.groups.iter().map(|((outcome, id), group)| (*outcome, id.as_str(), group)).collect();
        rows.retain(|(_, id, group)| {
            self.matches(&[id, sentence(id)]) || group.about.keys().any(|about| self.matches(&[about]))
        });
        rows.sort_by_key(|(_, _, group)| std::cmp::Reverse(group.count));
        rows
    }

    fn rows(&self) -> usize {
        match self.tab {
            Tab::Build => self.finished().len(),
            Tab::Projects => self.projects().len(),
            Tab::Store => self.entries().len(),
            Tab::Transfer => 0,
            Tab::Passthrough => self.groups().len(),
        }
    }

    pub fn cursor(&self) -> usize {
        self.cursors[self.tab as usize]
    }

    fn move_to(&mut self, row: usize) {
        self.cursors[self.tab as usize] = row.min(self.rows().saturating_sub(1));
    }

    pub fn take(&mut self, input: Input) {
        let page = usize::from(self.drawn.list.3).max(1);
        match input {
            Input::Quit => self.done = true,
            Input::Resize => {}
            _ if self.help => self.help = false,
            Input::Char(c) if self.typing => self.filter_with(|filter| filter.push(c)),
            Input::Backspace if self.typing => self.filter_with(|filter| _ = filter.pop()),
            Input::Enter if self.typing => self.typing = false,
            Input::Escape if self.typing || !self.filter.is_empty() => {
                self.typing = false;
                self.filter_with(String::clear);
            }
            Input::Char('q') => self.done = true,
            Input::Char('?') => self.help = true,
            Input::Char('/') => self.typing = true,
            Input::Char(c @ '1'..='5') => self.tab = Tab::ALL[c as usize - '1' as usize],
            Input::Next | Input::Char('l') => self.tab = Tab::ALL[(self.tab as usize + 1) % 5],
            Input::Previous | Input::Char('h') => self.tab = Tab::ALL[(self.tab as usize + 4) % 5],
            Input::Up(n) => self.move_to(self.cursor().saturating_sub(n)),
            Input::Down(n) => self.move_to(self.cursor().saturating_add(n)),
            Input::Char('k') => self.move_to(self.cursor().saturating_sub(1)),
            Input::Char('j') => self.move_to(self.cursor().saturating_add(1)),
            Input::PageUp => self.move_to(self.cursor().saturating_sub(page)),
            Input::PageDown | Input::Char(' ') => self.move_to(self.cursor().saturating_add(page)),
            Input::Top | Input::Char('g') => self.move_to(0),
            Input::Bottom | Input::Char('G') => self.move_to(usize::MAX),
            Input::Char('s') if self.tab == Tab::Store => {
                self.order = match self.order {
                    Order::Size => Order::Hits,
                    Order::Hits => Order::Used,
                    Order::Used => Order::Size,
                };
                self.arrange();
                self.move_to(0);
            }
            Input::Press(x, y) => self.press(x, y),
            Input::Char(_) | Input::Control(_) | Input::Enter | Input::Escape | Input::Backspace | Input::Delete => {}
        }
    }

    fn filter_with(&mut self, change: impl FnOnce(&mut String)) {
        change(&mut self.filter);
        self.cursors = [0; 5];
        self.arrange();
    }

    fn press(&mut self, x: u16, y: u16) {
        if let Some((.., tab)) =
            self.drawn.tabs.iter().find(|(row, from, to, _)| *row == y && (*from..=*to).contains(&x))
        {
            self.tab = *tab;
            return;
        }
        let (left, top, width, height) = self.drawn.list;
        if (left..left.saturating_add(width)).contains(&x) && (top..top.saturating_add(height)).contains(&y) {
            self.move_to(self.drawn.offset + usize::from(y - top));
        }
    }
}
