//! `kache monitor` in a real terminal. What frames look like is tested
//! beside the drawing; here it is that they come, that keys arrive, and that the terminal is given back.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::commands::{STATES, State, damage};
use crate::common::terminal::{Screen, tmux_missing};
use crate::common::*;

/// Guards: a build is seen while it runs and when it ended, hits count, and every tab, key and press arrives.
#[test]
fn watches_builds() {
    if tmux_missing("monitor::watches_builds") {
        return;
    }
    let space = Space::new();
    let tree = space.tree("one");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    let go = space.site("go");
    tree.write(
        "build.rs",
        &format!(
            "fn main() {{ while !std::path::Path::new({go:?}).exists() {{ \
             std::thread::sleep(std::time::Duration::from_millis(5)) }} }}"
        ),
    );
    let screen = Screen::open(&space, "", "monitor");
    screen.shows(&["1 Build", "Nothing was built through kache yet"]);
    let raw = space.path("raw");
    screen.tmux(&["pipe-pane", &format!("cat > {}", raw.display())]);

    let building = tree.cargo("build").spawn();
    screen.shows(&["1 running", "build script"]);
    fs::write(&go, "").expect("the word to go on");
    building.wait().ok();
    screen.until("the end of the build", |text| text.contains("last build") && !text.contains("running"));
    screen.shows(&["0 hit", "miss         app ", "miss         part "]);
    tree.clean();
    tree.cargo("build").run().ok();
    screen.shows(&["hit          app ", "hit          part "]);

    screen.keys(&["2"]);
    screen.shows(&["1 directory", "one/target"]);
    screen.keys(&["Tab"]);
    screen.shows(&["biggest entries", "at most 50.0 GiB", "app "]);
    screen.keys(&["s"]);
    screen.shows(&["hottest entries"]);
    screen.keys(&["Tab"]);
    screen.shows(&["No remote is configured."]);
    screen.keys(&["5"]);
    screen.shows(&["not cached, by reason"]);
    screen.keys(&["?"]);
    screen.shows(&["next tab, the one before"]);
    screen.keys(&["Escape"]);
    screen.keys(&["1"]);
    screen.keys(&["/", "p", "a", "r", "q"]);
    screen.until("nothing that holds `parq`", |text| text.contains("filter /parq") && !text.contains(" part "));
    screen.keys(&["BSpace", "Enter"]);
    screen.until("only part", |text| text.contains("hit          part ") && !text.contains("hit          app "));
    screen.keys(&["Escape"]);
    screen.shows(&["hit          app "]);
    // A press on the fourth tab.
    screen.press(34, 1);
    screen.shows(&["No remote is configured."]);
    // No frame may begin with an empty screen: that is what flickers.
    let raw = fs::read(&raw).expect("what was written to the terminal");
    assert!(raw.len() > 1000 && memchr::memmem::find(&raw, b"\x1b[2J").is_none());

    screen.keys(&["1"]);
    screen.tmux(&["resize-window", "-x", "50", "-y", "12"]);
    screen.until("a narrow frame", |text| text.lines().next().is_some_and(|l| l.contains("1 Build  2  3  4  5")));
    screen.shows(&["hit          app", "q quit"]);
    screen.keys(&["q"]);
    screen.shows(&["before", "left with 0", "line by line"]);
}

/// Guards: colours where they are wanted and none where they are not; a signal gives the terminal back too.
#[test]
fn no_color_and_signals() {
    if tmux_missing("monitor::no_color_and_signals") {
        return;
    }
    for (set, coloured) in [("NO_COLOR=", true), ("NO_COLOR=1", false)] {
        let space = Space::new();
        let tree = space.tree("one");
        app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
        tree.cargo("build").run().ok();
        let screen = Screen::open(&space, set, "monitor");
        screen.shows(&["miss         app "]);
        let cells = screen.tmux(&["capture-pane", "-p", "-e"]);
        // `39` is the terminal's own.
        let colours = ["[38;", "[31", "[32", "[33", "[34", "[35", "[36"];
        assert_eq!(colours.iter().any(|c| cells.contains(c)), coloured, "{set}: {cells:?}");
        let pid = fs::read_to_string(space.path("pid")).expect("the monitor's process");
        space.command("kill", &space.path("")).arg(pid.trim()).run().ok();
        screen.shows(&["before", "left with 0", "line by line"]);
    }
}

/// Guards: whatever the cache is like, every tab shows, every way to move through it is understood, nothing of what was
/// damaged commands the terminal, and it is left with the exit code 0. No cache but a file: that is said.
#[test]
fn damaged_caches() {
    if tmux_missing("monitor::damaged_caches") {
        return;
    }
    for state in STATES {
        let space = Space::new();
        let tree = space.tree("one");
        app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
        tree.cargo("build").run().ok();
        tree.edit("part/src/lib.rs", "1", "2");
        tree.cargo("build").run().ok();
        space.cli("stats").run().ok();
        let _read_only = match damage(&space.cache(), state) {
            Ok(guard) => guard,
            Err(why) => {
                skip("monitor::damaged_caches, of a read-only cache", &why);
                continue;
            }
        };
        let screen = Screen::open(&space, "", "monitor");
        if state == State::NoDirectory {
            screen.shows(&["before", "is not a directory", "left with 1", "line by line"]);
            continue;
        }
        // What stands there once the log was read and the store was looked at.
        let tabs = [
            ("1", "── finished ──"),
            ("2", "director"),
            ("3", "biggest entries"),
            ("4", "No remote is configured."),
            ("5", "not cached, by reason"),
        ];
        for (key, words) in tabs {
            screen.keys(&[key]);
            screen.until(&format!("{state:?}, {words}"), |text| {
                text.contains(words) && !text.contains("eading the event")
            });
            screen.keys(&["Down", "Down", "Up", "PageDown", "PageUp", "G", "g", "j", "k", "End", "Home"]);
            screen.wheel(true);
            screen.wheel(false);
            // The next thing that is seen comes after all of these.
            screen.keys(&["?"]);
            screen.shows(&["next tab, the one before"]);
            screen.keys(&["Escape"]);
            let text = screen.until(words, |text| text.contains(words) && !text.contains("next tab, the one before"));
            assert!(text.contains("1 Build") && text.contains("5 Passthrough"), "{state:?}\n{text}");
        }
        screen.keys(&["q"]);
        screen.shows(&["before", "left with 0", "line by line"]);
        // A build never minds.
        remove(&tree.path.join("target"));
        tree.cargo("build").run().ok();
    }
}

/// Guards: a terminal that goes away takes the monitor with it.
#[test]
fn hangs_up() {
    if tmux_missing("monitor::hangs_up") {
        return;
    }
    let space = Space::new();
    let screen = Screen::open(&space, "", "monitor");
    screen.shows(&["Nothing was built through kache yet"]);
    let pid = fs::read_to_string(space.path("pid")).expect("the monitor's process");
    let process = PathBuf::from("/proc").join(pid.trim());
    // One that ended and was not waited for has no command line.
    let runs = || fs::read(process.join("cmdline")).is_ok_and(|line| !line.is_empty());
    assert!(runs());
    drop(screen);
    let start = Instant::now();
    while runs() {
        assert!(start.elapsed() < Duration::from_secs(60), "the monitor must end with its terminal");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn without_a_terminal() {
    let space = Space::new();
    let out = space.cli("monitor").run();
    out.check(out.status.code() == Some(2), "the exit code must be 2");
    out.check(out.stderr.contains("there is none here") && out.stdout.is_empty(), "it must say what is missing");
}
