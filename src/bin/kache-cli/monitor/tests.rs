//! Frames and keys, on a terminal in memory.

use super::draw::draw;
use super::model::{Drawn, Held, Model, News, Order, Running, Survey, Tab};
use crate::history::testing::event;
use crate::screen::{Ink, Input};
use kache_key::Digest;
use kache_store::{Event, Outcome, Usage};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use std::collections::HashMap;
use std::time::Duration;

fn key(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn of(name: &str, outcome: Outcome, time: u64) -> Event {
    Event { key: Some(key(name).hex()), dir: format!("/registry/{name}-1.0.0"), ..event(name, outcome, time) }
}

fn because(reason: &str, detail: &str, event: Event) -> Event {
    Event { reason: Some(reason.into()), detail: Some(detail.into()), key: None, stored: false, ..event }
}

/// Two build directories, everything that can happen in them, and a store that holds a part of it.
fn events() -> Vec<Event> {
    let other = |e: Event| Event { build_dir: Some("/home/ada/fd/target".into()), ..e };
    vec![
        other(of("libc", Outcome::Miss, 1000)),
        other(of("fd", Outcome::Miss, 1002)),
        Event { linked: 3 << 20, tool_ms: 1800, ms: 4.0, ..of("libc", Outcome::Hit, 5000) },
        Event { copied: 1 << 20, tool_ms: 900, ms: 3.0, ..of("memchr", Outcome::Dup, 5001) },
        Event { tool_ms: 4200, ms: 4300.0, ..of("regex_syntax", Outcome::Miss, 5006) },
        Event { name: "build_script_build".into(), ..of("serde", Outcome::Hit, 5007) },
        because("clock", "chrono::now", Event { action: "build-script".into(), ..of("vergen", Outcome::Miss, 5008) }),
        because("unknown-flag", "-Zhello", of("odd", Outcome::Passthrough, 5009)),
        because("unknown-flag", "-Zhello", of("strange", Outcome::Passthrough, 5010)),
        Event { action: "query".into(), ..event("___", Outcome::Passthrough, 5011) },
    ]
}

fn survey() -> Survey {
    let held = |bytes, tool_ms| Held { bytes, outputs: 3, tool_ms, used_ms: 5_000_000 };
    let entries = [
        ("libc", held(3 << 20, 1800)),
        ("memchr", held(1 << 20, 900)),
        ("regex_syntax", held(18 << 20, 4200)),
        ("forgotten", held(100, 10)),
    ];
    Survey {
        usage: Usage { entries: 4, blobs: 9, blob_bytes: 20 << 20, record_bytes: 64 << 10, linked_bytes: 15 << 20 },
        max_size: 40 << 20,
        entries: entries.into_iter().map(|(name, held)| (key(name), held)).collect::<HashMap<_, _>>(),
        gone: ["/home/ada/fd/target".to_string()].into(),
    }
}

fn model() -> Model {
    let mut model = Model::new("/home/ada/.cache/kache".into(), "the last 7 days".into());
    model.now = 5_060_000;
    model.hear(News::Events(events()));
    model.hear(News::CaughtUp);
    model.hear(News::Survey(survey()));
    model
}

fn at_work(n: u32) -> News {
    let one = |pid| Running {
        pid,
        action: "rustc",
        name: format!("crate{pid}"),
        age: Duration::from_secs(60 - u64::from(pid)),
    };
    News::Running((1..=n).map(one).collect())
}

fn terminal(model: &Model, (width, height): (u16, u16), colours: bool) -> (Terminal<TestBackend>, Drawn) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    let mut drawn = Drawn::default();
    terminal.draw(|frame| drawn = draw(model, Ink { colours }, frame.area(), frame.buffer_mut())).expect("a frame");
    (terminal, drawn)
}

fn text(model: &Model, size: (u16, u16)) -> String {
    let (terminal, _) = terminal(model, size, true);
    let cells = terminal.backend().buffer();
    let row = |y| (0..size.0).map(|x| cells[(x, y)].symbol()).collect::<String>().trim_end().to_string() + "\n";
    (0..size.1).map(row).collect()
}

/// The frame must be the one on file; `KACHE_SNAPSHOTS=write` puts it there.
#[track_caller]
fn looks_like(name: &str, frame: &str) {
    let path = format!("{}/src/bin/kache-cli/monitor/snapshots/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var("KACHE_SNAPSHOTS").is_ok_and(|v| v == "write") {
        std::fs::write(&path, frame).expect("the snapshot's file");
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(frame == wanted, "not as in {path}:\n{frame}\nbut should be:\n{wanted}");
}

#[test]
fn frames() {
    for size in [(110, 26), (56, 16)] {
        let mut model = model();
        model.hear(at_work(3));
        for tab in Tab::ALL {
            model.tab = tab;
            looks_like(&format!("{}-{}", tab.title().to_lowercase(), size.0), &text(&model, size));
        }
    }
    let empty = Model::new("/home/ada/.cache/kache".into(), "the last 7 days".into());
    looks_like("reading", &text(&empty, (80, 12)));
    let mut part = Model::new("/home/ada/.cache/kache".into(), "the last 7 days".into());
    part.hear(News::Events(events()));
    assert!(text(&part, (80, 12)).contains("/w/target  reading the event log …"));
    let mut model = model();
    model.help = true;
    looks_like("help", &text(&model, (80, 18)));
}

/// Guards: no size breaks drawing, and every size that shows anything shows the way out.
#[test]
fn all_sizes() {
    let mut model = model();
    model.hear(at_work(40));
    for tab in Tab::ALL {
        model.tab = tab;
        for (width, height) in (0..130).step_by(7).flat_map(|w| (0..30).step_by(2).map(move |h| (w, h))) {
            let frame = text(&model, (width, height));
            assert!(width < 20 || height < 5 || frame.contains("q quit"), "{width}×{height}\n{frame}");
        }
    }
}

/// Guards: `NO_COLOR` leaves weight and inversion, and the cursor is seen by inversion alone.
#[test]
fn without_colours() {
    let mut model = model();
    for tab in Tab::ALL {
        model.tab = tab;
        let coloured = |colours| {
            let (terminal, _) = terminal(&model, (110, 26), colours);
            let cells = terminal.backend().buffer().content().to_vec();
            assert!(cells.iter().any(|c| c.modifier.contains(Modifier::REVERSED)));
            cells.iter().filter(|c| c.fg != Color::Reset || c.bg != Color::Reset).count()
        };
        assert_eq!(coloured(false), 0, "{tab:?}");
        assert!(tab == Tab::Projects || coloured(true) > 0, "{tab:?}");
    }
}

/// Guards: what other processes wrote into the log never reaches the terminal as it is, and no text grows without end.
#[test]
fn texts_are_tame() {
    let mut model = Model::new("/c".into(), "the last 7 days".into());
    let evil = format!("\x1b[2J\x07{}", "x".repeat(100_000));
    let mut odd = because("clock", &evil, of(&evil, Outcome::Miss, 1));
    (odd.unit, odd.build_dir, odd.action) = (evil.clone(), Some(evil.clone()), evil.clone());
    model.hear(News::Events(vec![odd]));
    model.hear(News::Running(vec![Running { pid: 1, action: "rustc", name: evil, age: Duration::ZERO }]));
    for tab in Tab::ALL {
        model.tab = tab;
        let frame = text(&model, (100, 30));
        assert!(!frame.chars().any(|c| c.is_control() && c != '\n'), "{frame:?}");
    }
    assert!(model.finished()[0].name.chars().count() < 1000);
}

/// Guards: what went wrong shows as long as it lasts, and then the keys do again.
#[test]
fn troubles_pass() {
    let mut model = model();
    model.hear(News::Trouble("the disk\x07".into()));
    let foot = |model: &Model| text(model, (80, 20)).lines().last().unwrap_or_default().to_string();
    assert!(foot(&model).contains("the disk·"));
    model.now += 9_000;
    assert!(foot(&model).contains("the disk·"));
    model.hear(News::Trouble("the disk".into()));
    model.now += 9_000;
    assert!(foot(&model).contains("the disk"));
    model.now += 1_000;
    assert!(foot(&model).contains("q quit"));
}

#[test]
fn keys() {
    let mut model = model();
    for (input, tab) in [
        (Input::Next, Tab::Projects),
        (Input::Char('5'), Tab::Passthrough),
        (Input::Next, Tab::Build),
        (Input::Previous, Tab::Passthrough),
        (Input::Char('3'), Tab::Store),
        (Input::Char('9'), Tab::Store),
    ] {
        model.take(input);
        assert_eq!(model.tab, tab, "{input:?}");
    }
    let names = |model: &Model| model.entries().iter().map(|e| model.entry(e).name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&model), ["regex_syntax", "libc", "memchr", ""]);
    model.take(Input::Char('s'));
    assert_eq!(model.order, Order::Hits);
    assert_eq!(model.entries().iter().map(|e| model.entry(e).hits).collect::<Vec<_>>(), [1, 1, 0, 0]);
    model.take(Input::Char('1'));
    model.take(Input::Char('?'));
    assert!(model.help);
    // Whatever key closes the help does nothing else.
    model.take(Input::Char('q'));
    assert!(!model.help && !model.done);
    model.take(Input::Bottom);
    assert_eq!(model.cursor(), 8);
    model.take(Input::Down(3));
    assert_eq!(model.cursor(), 8);
    model.take(Input::Top);
    model.take(Input::Up(1));
    assert_eq!(model.cursor(), 0);
    model.take(Input::Char('q'));
    assert!(model.done);
}

/// Guards: while a filter is typed no letter is a command; it reaches names, reasons with what they are about, and
/// outcomes; Esc ends it.
#[test]
fn filters() {
    let mut model = model();
    let shown = |model: &Model| model.finished().iter().map(|f| f.name.clone()).collect::<Vec<_>>();
    for c in "/CLOQ".chars() {
        model.take(Input::Char(c));
    }
    assert!(model.typing && !model.done && shown(&model).is_empty());
    model.take(Input::Backspace);
    model.take(Input::Enter);
    assert_eq!((shown(&model), model.typing), (vec!["vergen".to_string()], false));
    assert!(text(&model, (80, 20)).contains("filter /CLO"));
    model.take(Input::Escape);
    assert_eq!(shown(&model).len(), 9);
    for c in "/dup".chars() {
        model.take(Input::Char(c));
    }
    assert_eq!(shown(&model), ["memchr"]);
    for (typed, found) in [("-zhel", &["strange", "odd"][..]), ("chrono::", &["vergen"]), ("wall clock", &["vergen"])] {
        model.take(Input::Escape);
        format!("/{typed}").chars().for_each(|c| model.take(Input::Char(c)));
        assert_eq!(shown(&model), found, "{typed}");
        model.take(Input::Enter);
    }
}

/// Guards: a list that is looked at stays where it is when news come in above; one at its top follows them.
#[test]
fn news_do_not_move_what_is_read() {
    let mut model = model();
    let under = |model: &Model| model.finished()[model.cursor()].name.clone();
    model.hear(News::Events(vec![of("newer", Outcome::Hit, 5012)]));
    assert_eq!(under(&model), "newer");
    model.take(Input::Down(2));
    let before = under(&model);
    model.hear(News::Events(vec![of("newest", Outcome::Hit, 5013)]));
    assert_eq!((under(&model), model.cursor()), (before, 3));
}

/// Guards: a press means what stands there, also in a list that is scrolled.
#[test]
fn mouse() {
    let mut model = model();
    let many = (0..100).map(|n| of(&format!("n{n}"), Outcome::Hit, 6000 + n)).collect();
    model.hear(News::Events(many));
    model.drawn = terminal(&model, (110, 26), true).1;
    model.take(Input::Down(50));
    model.drawn = terminal(&model, (110, 26), true).1;
    let (left, top, _, height) = model.drawn.list;
    assert!(model.drawn.offset > 0 && height > 3);
    let frame = text(&model, (110, 26));
    let line = frame.lines().nth(usize::from(top) + 2).expect("a line").to_string();
    model.take(Input::Press(left + 5, top + 2));
    let under = model.finished()[model.cursor()].name.clone();
    assert!(line.contains(&format!(" {under} ")), "{line} is not about {under}");
    model.drawn = terminal(&model, (110, 26), true).1;
    let (row, from, _, tab) = model.drawn.tabs[3];
    model.take(Input::Press(from, row));
    assert_eq!((model.tab, tab), (Tab::Transfer, Tab::Transfer));
    // Nothing stands there.
    model.take(Input::Press(from, 20));
    assert_eq!(model.tab, Tab::Transfer);
}

/// Guards: a unit's return begins a new build; sums go on; a purge forgets.
#[test]
fn builds_and_sums() {
    let mut model = model();
    let (dir, build) = model.current().expect("a build");
    assert_eq!((dir, build.sums.tally.restored(), build.sums.tally.total()), ("/w/target", 3, 7));
    let project = model.projects().into_iter().find(|p| p.dir == "/home/ada/fd/target").expect("the other one");
    assert_eq!((project.units, project.held, project.gone, project.missing), (2, 1, true, vec!["fd-01".into()]));
    model.hear(News::Events(vec![of("libc", Outcome::Hit, 5012)]));
    assert_eq!(model.current().expect("a build").1.sums.tally.total(), 1);
    assert_eq!(model.total.tally.total(), 10);
    let groups: Vec<_> = model.groups().iter().map(|(_, id, g)| (id.to_string(), g.count)).collect();
    assert_eq!(groups, [("unknown-flag".to_string(), 2), ("clock".to_string(), 1)]);
    model.hear(News::Forget);
    assert!(model.current().is_none() && model.groups().is_empty() && model.finished().is_empty());
}

/// Guards: C compiles come together by their project; what configure scripts try begins no build and is no unit; what was
/// passed through before its place was known belongs to what was built just before.
#[test]
fn builds_of_c() {
    let mut model = Model::new("/c".into(), "the last 7 days".into());
    let cc = |unit: &str, weak: &str, time| Event {
        action: "cc".into(),
        unit: unit.into(),
        weak: Some(weak.into()),
        build_dir: Some("/zlib".into()),
        ..of(unit, Outcome::Miss, time)
    };
    let gcc = |time| because("unknown-flag", "-E", Event { build_dir: None, ..of("gcc", Outcome::Passthrough, time) });
    model.hear(News::CaughtUp);
    model.hear(News::Events(vec![gcc(0)]));
    assert!(model.projects().is_empty() && text(&model, (80, 20)).contains("1 passthrough"));
    let all = [("conftest.o", "1"), ("conftest.o", "2"), ("a.o", "1"), ("contrib/a.o", "1"), ("contrib/b.o", "1")];
    model.hear(News::Events((1..).zip(all).map(|(time, (unit, weak))| cc(unit, weak, time)).collect()));
    model.hear(News::Events(vec![gcc(6), gcc(7)]));
    let project = &model.projects()[0];
    assert_eq!((model.projects().len(), project.dir.as_str(), project.sums.tally.total()), (1, "/zlib", 7));
    assert_eq!(project.units, 4, "what was passed through is one, too");
    // An edited source, and after it one that was compiled again before, but after a silence.
    model.hear(News::Events(vec![cc("contrib/c.o", "1", 20), cc("a.o", "2", 21)]));
    assert_eq!(model.projects()[0].sums.tally.total(), 2);
}
