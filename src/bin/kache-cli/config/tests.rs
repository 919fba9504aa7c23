//! The editor's frames and keys, on a terminal in memory.

use super::draw::draw;
use super::model::{Editor, Mode, Want};
use crate::screen::{Ink, Input};
use kache_config::{Given, SETTINGS, Settings, Source};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

fn at(name: &str) -> usize {
    SETTINGS.iter().position(|s| s.name == name).expect("a setting")
}

fn editor() -> Editor {
    let mut settings = Settings::defaults(&|_| None);
    let given = |name, source, value: &str| Given { name, source, value: value.into() };
    settings.given = vec![
        given("cache.max_size", Source::User, "20GiB"),
        given("cache.exclude", Source::Project, "bindings"),
        given("log.level", Source::Environment, "info"),
    ];
    let mut in_file = vec![None; SETTINGS.len()];
    in_file[at("cache.max_size")] = Some("20GiB".into());
    in_file[at("cache.observe")] = Some("perhaps".into());
    let mut editor = Editor::new(Source::User, "/home/ada/.config/kache/config.toml".into(), &settings);
    editor.read(in_file, &settings);
    editor
}

fn frame(editor: &mut Editor, (width, height): (u16, u16), colours: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    let ink = Ink { colours };
    terminal.draw(|frame| editor.drawn = draw(editor, ink, frame.area(), frame.buffer_mut())).expect("a frame");
    terminal
}

fn text(editor: &mut Editor, size: (u16, u16)) -> String {
    let terminal = frame(editor, size, true);
    let cells = terminal.backend().buffer();
    let row = |y| (0..size.0).map(|x| cells[(x, y)].symbol()).collect::<String>().trim_end().to_string() + "\n";
    (0..size.1).map(row).collect()
}

#[track_caller]
fn shows(editor: &mut Editor, words: &[&str]) {
    let text = text(editor, (100, 40));
    words.iter().for_each(|word| assert!(text.contains(word), "{word:?} in\n{text}"));
}

fn keys(editor: &mut Editor, text: &str) {
    text.chars().for_each(|c| assert_eq!(editor.take(Input::Char(c)), Want::Nothing));
}

/// By searching for its name.
fn choose(editor: &mut Editor, name: &str) {
    editor.filter.clear();
    keys(editor, "/");
    keys(editor, name);
    editor.take(Input::Enter);
    assert_eq!(editor.chosen(), Some(at(name)));
}

/// Guards: every setting of the table shows, under its section, with what holds and who says it; the chosen one with what it
/// is for.
#[test]
fn all_of_the_table() {
    let mut editor = editor();
    let all = text(&mut editor, (100, 40));
    for s in SETTINGS {
        let (section, key) = s.section_and_key();
        assert!(all.contains(&format!("\n {section}\n")) && all.contains(&format!(" {key}")), "{} in\n{all}", s.name);
        choose(&mut editor, s.name);
        shows(&mut editor, &[s.variable, &s.kind.accepts(), &s.doc[..12]]);
    }
    editor.filter.clear();
    shows(&mut editor, &["max_size                20GiB", "exclude                 bindings", "environment"]);
    choose(&mut editor, "cache.max_size");
    shows(&mut editor, &["default 50GiB", "user: 20GiB", "search /cache.max_size"]);
    keys(&mut editor, "/xyz");
    shows(&mut editor, &["Nothing is called so."]);
    assert_eq!((editor.chosen(), editor.take(Input::Enter)), (None, Want::Nothing));
    keys(&mut editor, " ur");
    editor.take(Input::Escape);
    assert_eq!(editor.unsaved(), 0);
}

/// Guards: a value that is none is not taken, and says what would be one; a change that changes nothing is none.
#[test]
fn typed_values() {
    let mut editor = editor();
    choose(&mut editor, "cache.max_size");
    editor.take(Input::Enter);
    shows(&mut editor, &["20GiB▏", "Enter take"]);
    keys(&mut editor, "x");
    shows(&mut editor, &["20GiBx▏", "must be a size such as 20GiB"]);
    editor.take(Input::Enter);
    assert!(matches!(editor.mode, Mode::Type(_)));
    editor.take(Input::Backspace);
    editor.take(Input::Enter);
    assert_eq!((editor.unsaved(), &editor.mode), (0, &Mode::Choose));
    editor.take(Input::Enter);
    for input in [Input::Top, Input::Delete, Input::Char('1'), Input::Next, Input::Previous, Input::Char('5')] {
        editor.take(input);
    }
    shows(&mut editor, &["15▏0GiB"]);
    editor.take(Input::Enter);
    shows(&mut editor, &["* max_size                150GiB", "1 change not saved"]);
    editor.take(Input::Enter);
    keys(&mut editor, "0");
    editor.take(Input::Escape);
    editor.take(Input::Escape);
    shows(&mut editor, &["* max_size                150GiB", "disabled"]);
    keys(&mut editor, "r");
    assert_eq!(editor.unsaved(), 0);
    choose(&mut editor, "cache.dir");
    editor.take(Input::Enter);
    editor.take(Input::Control('u'));
    keys(&mut editor, "here");
    shows(&mut editor, &["must be an absolute path"]);
}

/// Guards: flags and choices go round, what is not a value can be taken out, and what is stronger is said.
#[test]
fn flags_choices_and_taking_out() {
    let mut editor = editor();
    choose(&mut editor, "cache.disabled");
    keys(&mut editor, " ");
    assert_eq!(editor.holds(at("cache.disabled")), (Source::User, "true".into()));
    choose(&mut editor, "cc.source_date_epoch");
    keys(&mut editor, " ");
    assert_eq!(editor.mine(at("cc.source_date_epoch")), Some("pin"));
    keys(&mut editor, " u");
    assert_eq!(editor.unsaved(), 1, "as the file has it");
    keys(&mut editor, "u");
    shows(&mut editor, &["cc.source_date_epoch is not set in this file"]);
    choose(&mut editor, "cache.observe");
    assert_eq!(editor.holds(at("cache.observe")), (Source::Default, "true".into()));
    keys(&mut editor, "u");
    assert_eq!((editor.unsaved(), editor.mine(at("cache.observe"))), (2, None));
    choose(&mut editor, "log.level");
    keys(&mut editor, " ");
    shows(&mut editor, &["KACHE_LOG is set in the environment, and stronger"]);
    choose(&mut editor, "cache.exclude");
    editor.take(Input::Enter);
    editor.take(Input::Control('u'));
    keys(&mut editor, "a,b");
    editor.take(Input::Enter);
    shows(&mut editor, &["this project's .kache.toml has a value, and is stronger", "user: a,b", "project: bindings"]);
    let written: Vec<String> = editor.edits().iter().map(|e| e.words()).collect();
    assert_eq!(written, ["true", "not set", "[\"a\", \"b\"]", "\"debug\""]);
}

/// Guards: nothing that was changed is lost without a question, and nothing is saved that nobody asked for.
#[test]
fn leaving() {
    let mut editor = editor();
    assert_eq!(editor.take(Input::Char('q')), Want::Leave);
    keys(&mut editor, "s");
    shows(&mut editor, &["there is nothing to save"]);
    choose(&mut editor, "cache.disabled");
    keys(&mut editor, " q");
    shows(&mut editor, &["Save 1 change?", "y yes"]);
    for (input, want) in [(Input::Escape, Want::Nothing), (Input::Quit, Want::Nothing), (Input::Char('n'), Want::Leave)]
    {
        assert_eq!(editor.take(input), want);
    }
    for (input, want) in [(Input::Char('q'), Want::Nothing), (Input::Char('y'), Want::SaveAndLeave)] {
        assert_eq!(editor.take(input), want);
    }
    assert_eq!(editor.take(Input::Control('s')), Want::Save);
    editor.saved();
    shows(&mut editor, &["1 change saved"]);
    assert_eq!(editor.unsaved(), 0);
}

/// Guards: a press chooses, a second one changes; the wheel and pages move; the list follows.
#[test]
fn mouse_and_pages() {
    let mut editor = editor();
    let press = |editor: &mut Editor, name: &str| {
        let key = SETTINGS[at(name)].section_and_key().1;
        let frame = text(editor, (100, 40));
        let row = frame.lines().position(|line| line.trim_start_matches(['*', ' ']).starts_with(key)).expect("its row");
        editor.take(Input::Press(10, row as u16));
    };
    press(&mut editor, "cache.disabled");
    assert_eq!((editor.chosen(), editor.unsaved()), (Some(at("cache.disabled")), 0));
    press(&mut editor, "cache.disabled");
    assert_eq!(editor.unsaved(), 1);
    editor.take(Input::Press(0, 0));
    editor.take(Input::Press(99, 39));
    assert_eq!(editor.unsaved(), 1);
    drop(text(&mut editor, (60, 12)));
    editor.take(Input::Bottom);
    assert!(text(&mut editor, (60, 12)).contains("file "));
    editor.take(Input::Up(3));
    editor.take(Input::PageUp);
    editor.take(Input::Top);
    assert!(text(&mut editor, (60, 12)).contains("\n cache\n"), "the section's name comes back, too");
    for _ in 0..40 {
        editor.take(Input::Down(1));
        let chosen = SETTINGS[editor.chosen().expect("one")].section_and_key().1;
        assert!(text(&mut editor, (60, 12)).contains(&format!(" {chosen}")));
    }
}

/// Guards: no size breaks drawing, in no mode, and every size that shows anything shows the way out.
#[test]
fn all_sizes() {
    let modes: [&[Input]; 5] = [
        &[],
        &[Input::Char('?')],
        &[Input::Char('/'), Input::Char('o')],
        &[Input::Enter, Input::Char('ä')],
        &[Input::Down(2), Input::Enter, Input::Char('q')],
    ];
    for inputs in modes {
        let mut editor = editor();
        inputs.iter().for_each(|input| _ = editor.take(*input));
        for (width, height) in (0..130).step_by(7).flat_map(|w| (0..30).step_by(2).map(move |h| (w, h))) {
            let shown = text(&mut editor, (width, height));
            if width >= 20 && height >= 5 {
                let last = shown.lines().last().unwrap_or_default();
                assert!(
                    ["q leave", "Esc", "must be", "search", "Enter take"].iter().any(|way| last.contains(way)),
                    "{width}x{height}\n{shown}"
                );
            }
        }
    }
}

#[test]
fn no_colours() {
    let mut editor = editor();
    keys(&mut editor, " ");
    for colours in [true, false] {
        let terminal = frame(&mut editor, (100, 40), colours);
        let coloured =
            terminal.backend().buffer().content().iter().any(|c| c.fg != Color::Reset || c.bg != Color::Reset);
        assert!(colours || !coloured);
    }
}
