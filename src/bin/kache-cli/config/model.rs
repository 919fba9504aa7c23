//! The editor, as values: what files and variables say, keys and presses go in; rows and edits come out. Knows neither
//! terminals nor files.

use super::file::Edit;
use crate::format::count;
use crate::screen::Input;
use kache_config::{Kind, SETTINGS, Setting, Settings, Source};
use std::collections::BTreeMap;

/// A line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    Section(&'static str),
    /// By its place in the table.
    Setting(usize),
}

/// What keys are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Choose,
    Search,
    Type(Line),
    Help,
    /// Whether to save before leaving.
    Ask,
}

/// A line that is typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    text: Vec<char>,
    caret: usize,
}

impl Line {
    fn of(text: &str) -> Line {
        let text: Vec<char> = text.chars().collect();
        Line { caret: text.len(), text }
    }

    pub fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// With a mark where the next character comes.
    pub fn with_caret(&self) -> String {
        self.text[..self.caret].iter().chain(&['▏']).chain(&self.text[self.caret..]).collect()
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Char(c) => {
                self.text.insert(self.caret, c);
                self.caret += 1;
            }
            Input::Backspace if self.caret > 0 => {
                self.caret -= 1;
                self.text.remove(self.caret);
            }
            Input::Delete if self.caret < self.text.len() => _ = self.text.remove(self.caret),
            Input::Previous => self.caret = self.caret.saturating_sub(1),
            Input::Next => self.caret = (self.caret + 1).min(self.text.len()),
            Input::Top | Input::Control('a') => self.caret = 0,
            Input::Bottom | Input::Control('e') => self.caret = self.text.len(),
            Input::Control('u') => *self = Line::default(),
            _ => {}
        }
    }
}

/// What the editor can't do itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    Nothing,
    Save,
    SaveAndLeave,
    Leave,
}

/// Where the list was drawn last: what a press or a page means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// First column and row, width and height.
    pub list: (u16, u16, u16, u16),
    /// The row in its first line.
    pub offset: usize,
}

pub struct Editor {
    /// Whose file is edited, and which it is.
    pub source: Source,
    pub path: String,
    /// Of each setting: the default, what the file says, and what the others say.
    defaults: Vec<String>,
    in_file: Vec<Option<String>>,
    others: Vec<Vec<(Source, String)>>,
    /// What was changed and is not saved.
    edits: BTreeMap<usize, Option<String>>,
    chosen: usize,
    pub filter: String,
    pub mode: Mode,
    /// What happened, and whether it is bad.
    pub message: Option<(String, bool)>,
    pub drawn: Drawn,
}

impl Editor {
    pub fn new(source: Source, path: String, defaults: &Settings) -> Editor {
        Editor {
            source,
            path,
            defaults: SETTINGS.iter().map(|s| (s.show)(defaults)).collect(),
            in_file: vec![None; SETTINGS.len()],
            others: vec![Vec::new(); SETTINGS.len()],
            edits: BTreeMap::new(),
            chosen: 0,
            filter: String::new(),
            mode: Mode::Choose,
            message: None,
            drawn: Drawn::default(),
        }
    }

    /// What files and variables say now; edits go on from there.
    pub fn read(&mut self, in_file: Vec<Option<String>>, settings: &Settings) {
        let of_others = |s: &Setting| {
            let given = settings.given.iter().filter(|g| g.name == s.name && g.source != self.source);
            given.map(|g| (g.source, normal(s, &g.value).unwrap_or_default())).collect()
        };
        self.others = SETTINGS.iter().map(of_others).collect();
        self.in_file = in_file;
        self.edits.retain(|n, value| self.in_file[*n] != *value);
    }

    /// The edits are in the file.
    pub fn saved(&mut self) {
        self.message = Some((format!("{} saved", count(self.edits.len() as u64, "change")), false));
        self.edits.clear();
    }

    pub fn edits(&self) -> Vec<Edit> {
        let edit = |(n, value): (&usize, &Option<String>)| match value {
            Some(value) => Edit::to(&SETTINGS[*n], value).ok(),
            None => Some(Edit::away(&SETTINGS[*n])),
        };
        self.edits.iter().filter_map(edit).collect()
    }

    pub fn unsaved(&self) -> usize {
        self.edits.len()
    }

    pub fn is_changed(&self, n: usize) -> bool {
        self.edits.contains_key(&n)
    }

    /// What the file will say.
    pub fn mine(&self, n: usize) -> Option<&str> {
        self.edits.get(&n).unwrap_or(&self.in_file[n]).as_deref()
    }

    /// Whoever says something of a setting, the strongest last.
    pub fn said(&self, n: usize) -> Vec<(Source, String)> {
        let mine = self.mine(n).and_then(|value| normal(&SETTINGS[n], value)).map(|value| (self.source, value));
        let default = (Source::Default, self.defaults[n].clone());
        let mut all: Vec<_> = [default].into_iter().chain(self.others[n].iter().cloned()).chain(mine).collect();
        all.sort_by_key(|(source, _)| *source);
        all
    }

    /// What will hold here, and who says it.
    pub fn holds(&self, n: usize) -> (Source, String) {
        self.said(n).pop().unwrap_or((Source::Default, String::new()))
    }

    /// What is shown: by sections, and of each what the search finds.
    pub fn rows(&self) -> Vec<Row> {
        let wanted = self.filter.to_lowercase();
        let mut rows = Vec::new();
        for (n, s) in SETTINGS.iter().enumerate() {
            if !format!("{} {} {}", s.name, s.variable, s.doc).to_lowercase().contains(&wanted) {
                continue;
            }
            let section = Row::Section(s.section_and_key().0);
            if rows.iter().rfind(|r| matches!(r, Row::Section(_))) != Some(&section) {
                rows.push(section);
            }
            rows.push(Row::Setting(n));
        }
        rows
    }

    fn found(&self) -> Vec<usize> {
        self.rows().into_iter().filter_map(|r| if let Row::Setting(n) = r { Some(n) } else { None }).collect()
    }

    /// The setting that keys are about; none where the search finds none.
    pub fn chosen(&self) -> Option<usize> {
        let found = self.found();
        found.iter().copied().find(|n| *n >= self.chosen).or(found.last().copied())
    }

    fn move_by(&mut self, by: isize) {
        let found = self.found();
        let at = found.iter().position(|n| Some(*n) == self.chosen()).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(found.len().saturating_sub(1));
        self.chosen = found.get(to).copied().unwrap_or(self.chosen);
    }

    /// What is wrong with what is typed.
    pub fn wrong(&self) -> Option<String> {
        let (Mode::Type(line), Some(n)) = (&self.mode, self.chosen()) else { return None };
        Edit::to(&SETTINGS[n], &line.text()).err()
    }

    pub fn take(&mut self, input: Input) -> Want {
        if input == Input::Resize {
            return Want::Nothing;
        }
        self.message = None;
        match std::mem::take(&mut self.mode) {
            Mode::Choose => self.choose(input),
            Mode::Help => Want::Nothing,
            Mode::Search => {
                self.search(input);
                Want::Nothing
            }
            Mode::Type(line) => {
                self.type_on(line, input);
                Want::Nothing
            }
            Mode::Ask => match input {
                Input::Char('y') | Input::Enter => Want::SaveAndLeave,
                Input::Char('n') | Input::Quit => Want::Leave,
                _ => Want::Nothing,
            },
        }
    }

    fn choose(&mut self, input: Input) -> Want {
        let page = (self.drawn.list.3 as isize).max(1);
        match input {
            Input::Up(n) => self.move_by(-(n as isize)),
            Input::Down(n) => self.move_by(n as isize),
            Input::Char('k') => self.move_by(-1),
            Input::Char('j') => self.move_by(1),
            Input::PageUp => self.move_by(-page),
            Input::PageDown => self.move_by(page),
            Input::Top | Input::Char('g') => self.move_by(isize::MIN),
            Input::Bottom | Input::Char('G') => self.move_by(isize::MAX),
            Input::Enter | Input::Char(' ') => self.change(),
            Input::Char('u') | Input::Delete => self.take_out(),
            Input::Char('r') => _ = self.chosen().and_then(|n| self.edits.remove(&n)),
            Input::Char('/') => self.mode = Mode::Search,
            Input::Char('?') => self.mode = Mode::Help,
            Input::Char('s') | Input::Control('s') if self.edits.is_empty() => self.tell("there is nothing to save"),
            Input::Char('s') | Input::Control('s') => return Want::Save,
            Input::Escape if !self.filter.is_empty() => {
                self.chosen = self.chosen().unwrap_or(self.chosen);
                self.filter.clear();
            }
            Input::Char('q') | Input::Escape | Input::Quit if self.edits.is_empty() => return Want::Leave,
            Input::Char('q') | Input::Escape | Input::Quit => self.mode = Mode::Ask,
            Input::Press(x, y) => self.press(x, y),
            _ => {}
        }
        Want::Nothing
    }

    fn search(&mut self, input: Input) {
        match input {
            Input::Enter => return,
            Input::Escape | Input::Quit => return self.filter.clear(),
            Input::Char(c) => self.filter.push(c),
            Input::Backspace => _ = self.filter.pop(),
            Input::Control('u') => self.filter.clear(),
            Input::Up(n) => self.move_by(-(n as isize)),
            Input::Down(n) => self.move_by(n as isize),
            _ => {}
        }
        self.mode = Mode::Search;
    }

    fn type_on(&mut self, mut line: Line, input: Input) {
        match input {
            Input::Escape | Input::Quit => return,
            Input::Enter => {
                let value = line.text();
                self.mode = Mode::Type(line);
                if let (None, Some(n)) = (self.wrong(), self.chosen()) {
                    self.mode = Mode::Choose;
                    self.set(n, Some(value));
                }
                return;
            }
            _ => line.take(input),
        }
        self.mode = Mode::Type(line);
    }

    fn press(&mut self, x: u16, y: u16) {
        let (left, top, width, height) = self.drawn.list;
        let inside = (left..left.saturating_add(width)).contains(&x) && (top..top.saturating_add(height)).contains(&y);
        match self.rows().get(self.drawn.offset + usize::from(y.saturating_sub(top))).filter(|_| inside) {
            Some(Row::Setting(n)) if self.chosen() == Some(*n) => self.change(),
            Some(Row::Setting(n)) => self.chosen = *n,
            Some(Row::Section(_)) | None => {}
        }
    }

    /// The other of two, the next of several, or a line to type in.
    fn change(&mut self) {
        let Some(n) = self.chosen() else { return };
        let now =
            self.mine(n).map_or_else(|| self.holds(n).1, |mine| normal(&SETTINGS[n], mine).unwrap_or(mine.into()));
        match SETTINGS[n].kind {
            Kind::Flag => self.set(n, Some((now != "true").to_string())),
            Kind::Choice(names) => {
                let next = names.iter().position(|name| *name == now).map_or(0, |at| (at + 1) % names.len());
                self.set(n, names.get(next).map(ToString::to_string));
            }
            _ => self.mode = Mode::Type(Line::of(&now)),
        }
    }

    fn take_out(&mut self) {
        match self.chosen() {
            Some(n) if self.mine(n).is_none() => self.tell(&format!("{} is not set in this file", SETTINGS[n].name)),
            Some(n) => self.set(n, None),
            None => {}
        }
    }

    fn set(&mut self, n: usize, value: Option<String>) {
        let same = match (&value, &self.in_file[n]) {
            (Some(new), Some(old)) => normal(&SETTINGS[n], new) == normal(&SETTINGS[n], old),
            (new, old) => new == old,
        };
        if same {
            self.edits.remove(&n);
        } else {
            self.edits.insert(n, value);
        }
        match self.holds(n).0 {
            Source::Environment => {
                self.tell(&format!("{} is set in the environment, and stronger", SETTINGS[n].variable))
            }
            Source::Project if self.source == Source::User => {
                self.tell("this project's .kache.toml has a value, and is stronger");
            }
            _ => {}
        }
    }

    fn tell(&mut self, text: &str) {
        self.message = Some((text.into(), false));
    }
}

/// A value in the form that the settings are shown in; none where it is no value.
fn normal(setting: &Setting, value: &str) -> Option<String> {
    let mut scratch = Settings::defaults(&|_| None);
    setting.set(&mut scratch, value).ok()?;
    Some((setting.show)(&scratch))
}
