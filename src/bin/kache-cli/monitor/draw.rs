//! The monitor's frames: a model in, cells out. Changes nothing, asks nothing, and leaves out what there is no room for.

use super::model::{Drawn, Finished, Model, Order, ProjectRow, Sums, Tab};
use crate::format::{ago, count, percent, seconds, shorten, size};
use crate::history::{outcome_name, sentence};
use crate::screen::{self, Column, Ink, SMALLEST, left, put, right};
use kache_store::Outcome;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

impl Ink {
    fn outcome(self, outcome: Outcome) -> Style {
        match outcome {
            Outcome::Hit | Outcome::Dup => self.good(),
            Outcome::Miss => self.warn(),
            Outcome::Passthrough | Outcome::Skipped => self.faint(),
            Outcome::Error => self.bad(),
        }
    }
}

/// One frame; says where things came to stand.
pub fn draw(model: &Model, ink: Ink, area: Rect, cells: &mut Buffer) -> Drawn {
    let mut drawn = Drawn::default();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        put(cells, area, 0, Line::from("too small"));
        return drawn;
    }
    drawn.tabs = tabs(model, ink, area, cells);
    let body = Rect { y: area.y + 1, height: area.height - 2, ..area };
    let mut page = Page { model, ink, cells, left: body };
    match model.tab {
        Tab::Build => build(&mut page, &mut drawn),
        Tab::Projects => projects(&mut page, &mut drawn),
        Tab::Store => store(&mut page, &mut drawn),
        Tab::Transfer => transfer(&mut page),
        Tab::Passthrough => passthrough(&mut page, &mut drawn),
    }
    keys(model, ink, area, cells);
    if model.help {
        screen::help(&HELP, ink, body, cells);
    }
    drawn
}

fn tabs(model: &Model, ink: Ink, area: Rect, cells: &mut Buffer) -> Vec<(u16, u16, u16, Tab)> {
    let full: usize = Tab::ALL.iter().map(|t| t.title().len() + 5).sum();
    let all_titles = full <= usize::from(area.width);
    let (mut x, mut places) = (area.x, Vec::new());
    for tab in Tab::ALL {
        let chosen = tab == model.tab;
        let number = tab as usize + 1;
        let text = if all_titles || chosen { format!(" {number} {} ", tab.title()) } else { format!(" {number} ") };
        let style = if chosen { ink.strong().add_modifier(Modifier::REVERSED) } else { Style::new() };
        let (end, _) = cells.set_stringn(x, area.y, &text, usize::from(area.right().saturating_sub(x)), style);
        places.push((area.y, x, end.saturating_sub(1), tab));
        x = (end + u16::from(all_titles)).min(area.right());
    }
    let name = concat!("kache ", env!("CARGO_PKG_VERSION"));
    let width = name.len() as u16;
    if x + width + 2 <= area.right() {
        cells.set_string(area.right() - width - 1, area.y, name, ink.faint());
    }
    places
}

fn keys(model: &Model, ink: Ink, area: Rect, cells: &mut Buffer) {
    let row = area.height - 1;
    if model.typing || !model.filter.is_empty() {
        let mark = if model.typing { "▏" } else { "" };
        let rest = if model.typing { "  Enter keep  Esc clear" } else { "  Esc clear" };
        let spans = vec![
            Span::styled(" filter /", ink.at_work()),
            Span::styled(format!("{}{mark}", model.filter), ink.strong()),
            Span::styled(rest, ink.faint()),
        ];
        return put(cells, area, row, Line::from(spans));
    }
    if let Some(trouble) = model.trouble() {
        return put(cells, area, row, Line::styled(format!(" {trouble}"), ink.bad()));
    }
    let sort = if model.tab == Tab::Store { "  s sort" } else { "" };
    let wide = format!(" Tab 1-5 tabs  ↑↓ PgUp PgDn scroll  / filter{sort}  ? help  q quit");
    let text = if wide.chars().count() <= usize::from(area.width) { wide } else { " ? help  q quit".into() };
    put(cells, area, row, Line::styled(text, ink.faint()));
}

/// What is left of the body, filled from above and below.
struct Page<'a> {
    model: &'a Model,
    ink: Ink,
    cells: &'a mut Buffer,
    left: Rect,
}

impl Page<'_> {
    fn line(&mut self, line: Line<'_>) {
        put(self.cells, self.left, 0, line);
        self.skip(1);
    }

    fn text(&mut self, text: impl Into<String>, style: Style) {
        self.line(Line::styled(text.into(), style));
    }

    fn skip(&mut self, rows: u16) {
        let rows = rows.min(self.left.height);
        self.left.y += rows;
        self.left.height -= rows;
    }

    /// `label  ████░░░░  text`
    fn bar(&mut self, label: &str, part: f64, whole: f64, text: &str) {
        let ratio = if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 };
        let width = match self.left.width {
            0..60 => 0,
            60..100 => 16,
            _ => 30,
        };
        let full = (ratio * width as f64).round() as usize;
        let gap = if width > 0 { "  " } else { "" };
        self.line(Line::from(vec![
            Span::raw(format!(" {label:<10}")),
            Span::styled("█".repeat(full), self.ink.good()),
            Span::styled("░".repeat(width - full), self.ink.faint()),
            Span::raw(format!("{gap}{text}")),
        ]));
    }

    /// A line over the page's width that begins with a title.
    fn rule(&mut self, title: &str) {
        let width = usize::from(self.left.width);
        let head = format!("── {title} ");
        let rest = "─".repeat(width.saturating_sub(head.chars().count()));
        self.line(Line::from(vec![Span::styled(head, self.ink.faint()), Span::styled(rest, self.ink.faint())]));
    }

    /// Lines at the bottom about the item under the cursor, when there is room for them beside the list.
    fn detail(&mut self, lines: Vec<Line<'_>>) {
        let height = lines.len() as u16 + 1;
        if self.left.height < height + 8 {
            return;
        }
        let foot = Rect { y: self.left.bottom() - height, height, ..self.left };
        put(self.cells, foot, 0, Line::styled("─".repeat(usize::from(foot.width)), self.ink.faint()));
        for (row, line) in (1..).zip(lines) {
            put(self.cells, foot, row, line);
        }
        self.left.height -= height;
    }

    /// The rest of the page: a table of which the part around the cursor shows.
    fn list(&mut self, columns: &[Column], rows: usize, cell: impl Fn(usize, usize) -> (String, Style)) -> Drawn {
        let area = self.left;
        let (cursor, before) = (self.model.cursor(), self.model.drawn.offset);
        let offset = screen::list(self.cells, area, self.ink, columns, (rows, cursor, before), cell);
        let list = (area.x, area.y + 1, area.width, area.height.saturating_sub(1));
        Drawn { tabs: Vec::new(), list, offset }
    }
}

fn share(sums: &Sums) -> String {
    percent(sums.tally.restored() as f64, sums.tally.cacheable() as f64)
}

fn of_ms(ms: f64) -> String {
    seconds(ms / 1000.0)
}

fn tally(page: &Page<'_>, sums: &Sums) -> Vec<Span<'static>> {
    let t = &sums.tally;
    let ink = page.ink;
    let each = [
        (t.hit, "hit", ink.good()),
        (t.dup, "dup", ink.good()),
        (t.miss, "miss", ink.warn()),
        (t.passthrough, "passthrough", ink.faint()),
        (t.skipped, "skipped", ink.faint()),
        (t.error, "error", ink.bad()),
    ];
    let always = |name: &str| matches!(name, "hit" | "miss");
    let words = each.into_iter().filter(|(n, name, _)| *n > 0 || always(name));
    words.flat_map(|(n, name, style)| [Span::styled(format!("{n} {name}"), style), Span::raw("  ")]).collect()
}

fn ratios(page: &mut Page<'_>, sums: &Sums) {
    let t = &sums.tally;
    let by_count = format!("{} of {} restored", share(sums), count(t.cacheable(), "lookup"));
    page.bar("by count", t.restored() as f64, t.cacheable() as f64, &by_count);
    let (restored, all) = (sums.restored_ms as f64, sums.restored_ms.saturating_add(sums.missed_ms) as f64);
    let by_time = format!("{} of {} of compiling", percent(restored, all), of_ms(all));
    page.bar("by time", restored, all, &by_time);
}

fn build(page: &mut Page<'_>, drawn: &mut Drawn) {
    let (model, ink) = (page.model, page.ink);
    match model.current() {
        None if model.reading => page.text(" Reading the event log …", ink.faint()),
        None if model.total.tally.total() > 0 => {
            let words = [vec![Span::raw(" ")], tally(page, &model.total)].concat();
            page.line(Line::from(words));
        }
        None => {
            page.text(" Nothing was built through kache yet.", ink.strong());
            page.text(" Set RUSTC_WRAPPER=kache and build; it shows here at once.", Style::new());
        }
        Some((dir, build)) => {
            let running = model.running.len();
            let state = match running {
                _ if model.reading => "reading the event log …".into(),
                0 => format!("last build, {}", ago(model.now.saturating_sub(build.end))),
                n => format!("{n} running"),
            };
            let room = usize::from(page.left.width).saturating_sub(state.chars().count() + 4).max(8);
            page.line(Line::from(vec![
                Span::styled(format!(" {}", shorten(dir, room)), ink.strong()),
                Span::styled(format!("  {state}"), if running > 0 { ink.at_work() } else { ink.faint() }),
            ]));
            let mut words = vec![Span::raw(" ")];
            words.extend(tally(page, &build.sums));
            let took = build.end.saturating_sub(build.begin) as f64;
            words.push(Span::styled(
                format!("in {}, {} saved", of_ms(took), of_ms(build.sums.saved_ms)), //
                ink.faint(),
            ));
            page.line(Line::from(words));
            ratios(page, &build.sums);
            if page.left.height >= 14 {
                let total = &model.total;
                let all = total.restored_ms.saturating_add(total.missed_ms) as f64;
                page.text(
                    format!(
                        " In {}: {} by count, {} by time, {} saved", //
                        model.span,
                        share(total),
                        percent(total.restored_ms as f64, all),
                        of_ms(total.saved_ms)
                    ),
                    ink.faint(),
                );
            }
        }
    }
    running(page);
    let finished = model.finished();
    if let Some(f) = finished.get(model.cursor().min(finished.len().saturating_sub(1))) {
        page.detail(about_finished(ink, f));
    }
    let columns = [
        left("outcome", 11, 0),
        left("name", 0, 0),
        left("action", 12, 4),
        right("took", 9, 3),
        right("compile", 9, 2),
        left("why", 0, 1),
        right("when", 12, 5),
    ];
    let cell = |row: usize, column: usize| {
        let f = finished[row];
        match column {
            0 => (outcome_name(f.outcome).into(), ink.outcome(f.outcome)),
            1 => (f.name.clone(), Style::new()),
            2 => (f.action.clone(), ink.faint()),
            3 => (of_ms(f.ms), Style::new()),
            // What was passed through ran after its event was written.
            4 => (if f.tool_ms > 0 { of_ms(f.tool_ms as f64) } else { String::new() }, Style::new()),
            5 => (why(f), ink.faint()),
            _ => (ago(model.now.saturating_sub(f.time)), ink.faint()),
        }
    };
    let listed = page.list(&columns, finished.len(), cell);
    *drawn = Drawn { tabs: std::mem::take(&mut drawn.tabs), ..listed };
}

fn why(f: &Finished) -> String {
    match &f.why {
        Some((id, detail)) if detail.is_empty() => id.clone(),
        Some((id, detail)) => format!("{id}: {detail}"),
        None if f.outcome == Outcome::Miss && f.stored => "stored".into(),
        None => String::new(),
    }
}

fn about_finished(ink: Ink, f: &Finished) -> Vec<Line<'static>> {
    let unit = if f.unit.is_empty() { &f.name } else { &f.unit };
    let key = f.key.map_or_else(String::new, |k| format!("  kache show {}", &k.hex()[..12]));
    let why = match &f.why {
        Some((id, detail)) if detail.is_empty() => sentence(id).to_string(),
        Some((id, detail)) => format!("{}: {detail}", sentence(id)),
        None if f.outcome == Outcome::Miss => format!("kache explain {unit} says why it missed"),
        None => "restored: no compiler ran".into(),
    };
    vec![
        Line::from(vec![Span::styled(format!(" {unit}"), ink.strong()), Span::styled(key, ink.faint())]),
        Line::raw(format!(" {why}")),
        Line::styled(format!(" {}", f.place), ink.faint()),
    ]
}

fn running(page: &mut Page<'_>) {
    let (model, ink) = (page.model, page.ink);
    if model.running.is_empty() {
        return page.rule("finished");
    }
    page.rule(&format!("{} running", model.running.len()));
    let room = usize::from(page.left.height / 3).max(1);
    let fit = if model.running.len() > room { room - 1 } else { room };
    for r in model.running.iter().take(fit) {
        let age = match r.age.as_secs() {
            s @ 0..100 => format!("{s} s"),
            s => seconds(s as f64),
        };
        page.line(Line::from(vec![
            Span::styled(format!(" {:>9}  ", age), ink.at_work()),
            Span::raw(r.name.clone()),
            Span::styled(format!("  {}", r.action), ink.faint()),
        ]));
    }
    if model.running.len() > fit {
        page.text(format!(" and {} more", model.running.len() - fit), ink.faint());
    }
    page.rule("finished");
}

fn projects(page: &mut Page<'_>, drawn: &mut Drawn) {
    let (model, ink) = (page.model, page.ink);
    let rows = model.projects();
    page.text(format!(" {} in {}", count(rows.len() as u64, "directory"), model.span), ink.strong());
    let what = if model.survey.is_some() { "What the store holds can be restored after a clean." } else { LOOKING };
    page.text(format!(" {what}"), ink.faint());
    page.skip(1);
    if let Some(row) = rows.get(model.cursor().min(rows.len().saturating_sub(1))) {
        page.detail(about_project(model, ink, row));
    }
    let columns = [
        left("directory", 0, 0),
        right("last build", 12, 3),
        right("hits", 7, 4),
        right("units", 6, 2),
        right("held", 7, 0),
        right("by time", 8, 1),
        right("size", 10, 1),
    ];
    let cell = |row: usize, column: usize| {
        let r = &rows[row];
        let style = if r.gone { ink.faint() } else { Style::new() };
        let known = |text: String| if model.survey.is_some() { text } else { "…".into() };
        let text = match column {
            0 if r.gone => format!("{} (gone)", r.dir),
            0 => r.dir.clone(),
            1 => ago(model.now.saturating_sub(r.last)),
            2 => share(&r.sums),
            3 => r.units.to_string(),
            4 => known(percent(r.held as f64, r.units as f64)),
            5 => known(percent(r.held_ms as f64, r.all_ms as f64)),
            _ => known(size(r.held_bytes)),
        };
        (text, style)
    };
    let listed = page.list(&columns, rows.len(), cell);
    *drawn = Drawn { tabs: std::mem::take(&mut drawn.tabs), ..listed };
}

const LOOKING: &str = "Looking at the store …";

fn about_project(model: &Model, ink: Ink, row: &ProjectRow) -> Vec<Line<'static>> {
    let held = match (&model.survey, row.missing.len()) {
        (None, _) => LOOKING.to_string(),
        (Some(_), 0) => format!("all {} are in the store", count(row.units as u64, "unit")),
        (Some(_), n) => {
            format!("{n} of {} not in the store: {}", count(row.units as u64, "unit"), row.missing.join(", "))
        }
    };
    vec![Line::styled(format!(" {}", row.dir), ink.strong()), Line::raw(format!(" {held}"))]
}

fn store(page: &mut Page<'_>, drawn: &mut Drawn) {
    let (model, ink) = (page.model, page.ink);
    let Some(survey) = &model.survey else {
        page.text(format!(" {LOOKING}"), ink.faint());
        return page.text(format!(" {}", model.cache), ink.faint());
    };
    let usage = &survey.usage;
    let bytes = usage.blob_bytes + usage.record_bytes;
    let filled = format!("{} of at most {}", size(bytes), size(survey.max_size));
    page.bar("size", bytes as f64, survey.max_size as f64, &filled);
    let whole: u64 = survey.entries.values().fold(0, |sum, held| sum.saturating_add(held.bytes));
    page.bar(
        "shared",
        usage.linked_bytes as f64,
        usage.blob_bytes as f64,
        &format!("{} of {} have their inode in build trees too", size(usage.linked_bytes), size(usage.blob_bytes)),
    );
    let dedup = match usage.blob_bytes {
        0 => String::new(),
        blobs => format!(", dedup {:.2}×", whole as f64 / blobs as f64),
    };
    page.text(
        format!(
            " {} of {} in {} of {}{dedup}; records {}", //
            count(usage.entries, "entry"),
            size(whole),
            count(usage.blobs, "blob"),
            size(usage.blob_bytes),
            size(usage.record_bytes)
        ),
        Style::new(),
    );
    page.text(format!(" {}", model.cache), ink.faint());
    page.rule(match model.order {
        Order::Size => "biggest entries",
        Order::Hits => "hottest entries",
        Order::Used => "last used entries",
    });
    let rows = model.entries();
    let columns = [
        left("name", 0, 0),
        right("size", 10, 0),
        right("hits", 6, 0),
        right("files", 6, 3),
        right("compile", 9, 2),
        right("used", 12, 1),
        left("key", 12, 4),
    ];
    let cell = |row: usize, column: usize| {
        let r = model.entry(&rows[row]);
        match column {
            0 if r.name.is_empty() => ("(older than this log)".into(), ink.faint()),
            0 => (r.name.to_string(), Style::new()),
            1 => (size(r.held.0), Style::new()),
            2 => (r.hits.to_string(), ink.good()),
            3 => (r.held.1.to_string(), ink.faint()),
            4 => (of_ms(r.tool_ms as f64), Style::new()),
            5 => (ago(model.now.saturating_sub(r.used_ms)), ink.faint()),
            _ => (r.key.hex()[..12].to_string(), ink.faint()),
        }
    };
    let listed = page.list(&columns, rows.len(), cell);
    *drawn = Drawn { tabs: std::mem::take(&mut drawn.tabs), ..listed };
}

fn transfer(page: &mut Page<'_>) {
    let (model, ink) = (page.model, page.ink);
    page.skip(1);
    page.text(" No remote is configured.", ink.strong());
    page.text(" Nothing is sent or fetched; every result comes from this machine.", Style::new());
    page.skip(1);
    page.rule(&format!("restored from the local store, {}", model.span));
    let t = &model.total;
    let all = t.linked.saturating_add(t.cloned).saturating_add(t.copied) as f64;
    for (label, bytes) in [("reflink", t.cloned), ("hard link", t.linked), ("copy", t.copied)] {
        page.bar(label, bytes as f64, all, &size(bytes));
    }
}

fn passthrough(page: &mut Page<'_>, drawn: &mut Drawn) {
    let (model, ink) = (page.model, page.ink);
    let rows = model.groups();
    let all: u64 = rows.iter().map(|(.., group)| group.count).sum();
    let what = format!(" {} not cached, by reason ({})", count(all, "invocation"), model.span);
    page.text(what, ink.strong());
    page.skip(1);
    if let Some((_, id, group)) = rows.get(model.cursor().min(rows.len().saturating_sub(1))) {
        let mut about: Vec<_> = group.about.iter().collect();
        about.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let mut lines = vec![Line::styled(format!(" {id}: {}", sentence(id)), ink.strong())];
        lines.extend(about.into_iter().take(5).map(|(text, n)| Line::raw(format!(" {n:>6}  {text}"))));
        page.detail(lines);
    }
    let columns = [right("n", 6, 0), left("", 11, 2), left("why", 0, 0), right("compile", 11, 3), right("last", 12, 1)];
    let cell = |row: usize, column: usize| {
        let (outcome, id, group) = &rows[row];
        match column {
            0 => (group.count.to_string(), ink.strong()),
            1 if *outcome == Outcome::Miss => ("not stored".into(), ink.warn()),
            1 => (outcome_name(*outcome).into(), ink.outcome(*outcome)),
            2 => (sentence(id).to_string(), Style::new()),
            3 => (if group.ms > 0 { of_ms(group.ms as f64) } else { String::new() }, Style::new()),
            _ => (ago(model.now.saturating_sub(group.last)), ink.faint()),
        }
    };
    let listed = page.list(&columns, rows.len(), cell);
    *drawn = Drawn { tabs: std::mem::take(&mut drawn.tabs), ..listed };
}

const HELP: [(&str, &str); 10] = [
    ("Tab, ←, →", "next tab, the one before"),
    ("1 … 5", "a tab by its number"),
    ("↑ ↓ j k", "move; also the mouse wheel"),
    ("PgUp PgDn", "a page"),
    ("g G", "first, last"),
    ("/", "filter by name, directory, reason"),
    ("Esc", "no filter"),
    ("s", "Store: by size, hits, last use"),
    ("mouse", "press a tab or a row"),
    ("q, Ctrl-C", "leave"),
];
