//! `kache monitor` in a real terminal: tmux is the terminal, the keyboard and the mouse. What frames look like is tested
//! beside the drawing; here it is that they come, that keys arrive, and that the terminal is given back.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::common::*;

/// A terminal with one window, and a shell in it that runs a command and then says how the terminal was left.
struct Screen<'s> {
    space: &'s Space,
    socket: PathBuf,
}

impl<'s> Screen<'s> {
    fn open(space: &'s Space, set: &str) -> Screen<'s> {
        let screen = Screen { space, socket: space.path("tmux") };
        let (cli, cache) = (kache_cli().display(), space.cache());
        // The monitor's own shell tells its process: the signal is for it alone.
        let script = format!(
            "echo before; sh -c 'echo $$ > {pid}; exec env KACHE_CACHE_DIR={cache} {set} {cli} monitor'; \
             echo left with $?; stty -a | grep -qw -e -icanon || echo line by line; exec cat",
            pid = space.path("pid").display(),
            cache = cache.display(),
        );
        screen.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "30", &script]);
        screen
    }

    fn tmux(&self, args: &[&str]) -> String {
        let run = self.space.command("tmux", &self.space.path("")).arg("-u").arg("-S").arg(&self.socket);
        let out = args.iter().fold(run, |run, arg| run.arg(arg)).run();
        out.ok();
        out.stdout
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as described. How long that takes is no part of any test.
    #[track_caller]
    fn until(&self, what: &str, shown: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let text = self.text();
            if shown(&text) {
                return text;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "the screen must show {what}, but is\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn shows(&self, words: &[&str]) {
        self.until(&format!("{words:?}"), |text| words.iter().all(|word| text.contains(word)));
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

fn tmux_missing(test: &str) -> bool {
    let missing = !on_path("tmux");
    if missing {
        skip(test, "tmux is missing, so there is no terminal to try the monitor in");
    }
    missing
}

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
    let screen = Screen::open(&space, "");
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
    // A press on the fourth tab, as a terminal reports it.
    let press: Vec<String> = b"\x1b[<0;34;1M".iter().map(|b| format!("{b:x}")).collect();
    screen.keys(&[&["-H"], &press.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
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
        let screen = Screen::open(&space, set);
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

/// Guards: a terminal that goes away takes the monitor with it.
#[test]
fn hangs_up() {
    if tmux_missing("monitor::hangs_up") {
        return;
    }
    let space = Space::new();
    let screen = Screen::open(&space, "");
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
