//! `kache config`: files are changed where they are asked to be and nowhere else, and what is set holds in a build.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::common::terminal::{Screen, tmux_missing};
use crate::common::*;

fn listed(space: &Space) -> Value {
    let out = space.cli("config list --json").run();
    let value: Value = serde_json::from_str(&out.ok().stdout).expect("JSON");
    assert_eq!(value["version"], 1);
    value
}

/// One setting of the list: its value and who gave it.
#[track_caller]
fn held(list: &Value, name: &str) -> (String, String) {
    let settings = list["settings"].as_array().expect("settings");
    let one = settings.iter().find(|s| s["name"] == name).unwrap_or_else(|| panic!("{name} in {list}"));
    let text = |field: &str| one[field].as_str().expect("text").to_owned();
    (text("value"), text("source"))
}

fn pair(value: &str, source: &str) -> (String, String) {
    (value.into(), source.into())
}

const MINE: &str = "# mine\n[log]\nlevel = \"info\" # for now\n\n[cache]\n# small disk\nmax_size = \"5GiB\"   # at most\nexclude = [\n    \"a\", # slow\n]\n";

/// Guards: one value changes, in its place; everything else stays byte for byte, also after it is taken out again.
#[test]
fn comments_and_order_stay() {
    let space = Space::new();
    let file = space.path("user.toml");
    fs::write(&file, MINE).expect("settings");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("mode");
    let says_now = |args: &str, text: &str| {
        space.cli(args).run().ok();
        assert_eq!(fs::read_to_string(&file).expect("settings"), text, "{args}");
    };
    says_now("config set cache.max_size 20GiB", &MINE.replace("5GiB", "20GiB"));
    says_now("config set cache.max_size 5GiB", MINE);
    says_now("config set cache.observe no", &MINE.replace("[cache]\n", "[cache]\nobserve = false\n"));
    says_now("config unset cache.observe", MINE);
    says_now("config unset cache.observe", MINE);
    says_now("config set cache.exclude b* c", &MINE.replace("[\n    \"a\", # slow\n]", "[\"b*\", \"c\"]"));
    says_now(
        "config unset log.level",
        "# mine\n[log]\n\n[cache]\n# small disk\nmax_size = \"5GiB\"   # at most\nexclude = [\"b*\", \"c\"]\n",
    );
    assert_eq!(fs::metadata(&file).expect("settings").permissions().mode() & 0o777, 0o640);
    let left: Vec<_> = fs::read_dir(space.path("")).expect("space").flatten().map(|e| e.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".kache-")), "{left:?}");
}

/// Guards: each kind of value is written as what it is, and the program reads it back.
#[test]
fn values_of_each_kind() {
    let space = Space::new();
    fs::remove_file(space.path("user.toml")).expect("remove");
    for (args, name, value) in [
        ("cache.disabled yes", "cache.disabled", "true"),
        ("cache.lock_seconds 5", "cache.lock_seconds", "5"),
        ("cache.max_size 1536 MiB", "cache.max_size", "1536MiB"),
        ("cache.dir /some/where", "cache.dir", "/some/where"),
        ("cc.compiler clang", "cc.compiler", "clang"),
        ("cc.source_date_epoch pin", "cc.source_date_epoch", "pin"),
        ("cc.extra_allowlist_flags -fa -fb*", "cc.extra_allowlist_flags", "-fa,-fb*"),
        ("cache.key_salt \"#]", "cache.key_salt", "\"#]"),
        ("log.level 1", "log.level", "debug"),
    ] {
        space.cli("config set").args(args).run().ok();
        let expected = if name == "cache.dir" { "environment" } else { "user" };
        let value = if name == "cache.dir" { space.cache().display().to_string() } else { value.into() };
        assert_eq!(held(&listed(&space), name), pair(&value, expected));
        assert_eq!(space.cli("config get").arg(name).run().ok().stdout, format!("{value}\n"));
    }
    let text = fs::read_to_string(space.path("user.toml")).expect("settings");
    for line in
        ["dir = \"/some/where\"", "disabled = true", "lock_seconds = 5", "extra_allowlist_flags = [\"-fa\", \"-fb*\"]"]
    {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
}

/// Guards: a name or value that is none is refused with the one that was meant, or what would be one, and nothing is written.
#[test]
fn what_is_none_is_refused() {
    let space = Space::new();
    fs::write(space.path("user.toml"), MINE).expect("settings");
    for (args, words) in [
        ("set cache.max_siz 5", "did you mean cache.max_size?"),
        ("set max_size 5", "did you mean cache.max_size?"),
        ("unset KACHE_MAX_SIZE", "did you mean cache.max_size?"),
        ("get frobnicate", "no setting is named \"frobnicate\" (kache config list shows all)"),
        ("set cache.max_size much", "cache.max_size: must be a size such as 20GiB, not \"much\""),
        ("set cache.dir here", "must be an absolute path"),
        ("set paths.base_dir ..", "must be an absolute path"),
        ("set cache.disabled perhaps", "must be true or false"),
        ("set log.level loud", "must be off, warn, info or debug"),
        ("set cache.lock_seconds -1", "must be a whole number"),
        ("set cache.max_size", "<VALUE>"),
    ] {
        let out = space.cli("config").args(args).run();
        exits(&out, 2);
        says(&out, &[words]);
        out.check(out.stdout.is_empty(), "nothing for scripts");
    }
    assert_eq!(fs::read_to_string(space.path("user.toml")).expect("settings"), MINE);
}

/// Guards: a file that can't be read or written is named with what is wrong, stays as it is, and makes no new one.
#[test]
fn files_that_do_not_let() {
    let space = Space::new();
    let file = space.path("user.toml");
    let fails = |args: &str, words: &[&str]| {
        let out = space.cli(args).run();
        exits(&out, 1);
        says(&out, words);
    };
    for (text, words) in [("[cache\n", "line 1"), ("cache = 3\n", "cache is not a table"), ("\u{0}", "user.toml")] {
        fs::write(&file, text).expect("settings");
        fails("config set cache.max_size 5GiB", &["user.toml", words, "correct the file by hand"]);
        assert_eq!(fs::read_to_string(&file).expect("settings"), text);
    }
    fs::write(&file, [0xff, 0xfe]).expect("settings");
    fails("config unset cache.max_size", &["not UTF-8"]);
    fs::write(&file, MINE).expect("settings");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).expect("mode");
    fails("config set cache.max_size 6GiB", &["user.toml", "read-only"]);
    space.cli("config set cache.max_size 5GiB").run().ok();
    assert_eq!(fs::read_to_string(&file).expect("settings"), MINE);
    remove(&file);
    fs::create_dir(&file).expect("a directory in its place");
    fails("config set cache.max_size 6GiB", &["user.toml"]);
    remove(&file);
    says(space.cli("config unset cache.max_size").run().ok(), &["was not set"]);
    assert!(!file.exists(), "taking out makes no file");
    let out = space.cli("config set cache.max_size 6GiB").env("KACHE_CONFIG", "").run();
    exits(&out, 1);
    says(&out, &["set HOME, or KACHE_CONFIG"]);
    let out = space.cli("config set cache.max_size 6GiB").env("KACHE_CONFIG", "here.toml").run();
    exits(&out, 1);
    says(&out, &["KACHE_CONFIG: must be an absolute path"]);
    // Through a link, and into directories that are not there yet.
    let real = space.path("dot/files/kache.toml");
    let deep = space.path("a/b/config.toml");
    write_file(&real, MINE);
    std::os::unix::fs::symlink(&real, &file).expect("link");
    space.cli("config set cache.max_size 6GiB").run().ok();
    assert!(file.is_symlink());
    assert_eq!(fs::read_to_string(&real).expect("settings"), MINE.replace("5GiB", "6GiB"));
    space.cli("config set cache.max_size 6GiB").env("KACHE_CONFIG", &deep).run().ok();
    assert_eq!(fs::read_to_string(&deep).expect("settings"), "[cache]\nmax_size = \"6GiB\"\n");
}

/// Guards: what is set holds in the next build, in the place it was set for, and stronger sources are named.
#[test]
fn what_is_set_holds() {
    let space = Space::new();
    let tree = space.tree("w");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    let built = || {
        tree.clean();
        let out = tree.cargo("build").run();
        (out.ok().outcome("app").to_owned(), out.outcome("part").to_owned())
    };
    drop(built());
    let in_tree = |args: &str| space.cli(args).cwd(&tree.path).run();
    let changed = pair("passthrough", "hit");
    in_tree("config set cache.exclude app").ok();
    assert_eq!(built(), changed);
    fs::create_dir(tree.path.join(".git")).expect("repository");
    let below = tree.path.join("part/src");
    let out = space.cli("config set --project cache.exclude nothing").cwd(&below).run();
    says(out.ok(), &[".kache.toml"]);
    assert_eq!(tree.read(".kache.toml"), "[cache]\nexclude = [\"nothing\"]\n");
    let path = space.cli("config path --project").cwd(&below).run();
    assert_eq!(path.ok().stdout.trim_end(), tree.path.join(".kache.toml").to_string_lossy());
    assert_eq!(built().1, "hit");
    says(in_tree("config set cache.exclude app").ok(), &["note: this project's .kache.toml has a value"]);
    let out = space.cli("config set cache.exclude app").cwd(&tree.path).env("KACHE_EXCLUDE", "").run();
    says(out.ok(), &["note: KACHE_EXCLUDE is set in the environment"]);
    let list: Value = serde_json::from_str(&in_tree("config list --json").ok().stdout).expect("JSON");
    assert_eq!(held(&list, "cache.exclude"), pair("nothing", "project"));
    assert_eq!(held(&listed(&space), "cache.exclude"), pair("app", "user"));
    assert_eq!(held(&list, "cache.max_size"), pair("50GiB", "default"));
    in_tree("config unset --project cache.exclude").ok();
    assert_eq!(built(), changed);
    says(in_tree("config list").ok(), &["cache.exclude", "app", "user", ".kache.toml"]);
}

/// Guards: help names what each does; completions know the settings.
#[test]
fn help_and_completions() {
    let space = Space::new();
    for verb in ["get", "set", "unset", "list", "path"] {
        says(space.cli("config").args(verb).arg("--help").run().ok(), &["Examples:\n", verb]);
    }
    says(space.cli("completions zsh").run().ok(), &["cache.max_size", "cc.extra_allowlist_flags"]);
}

/// Guards: the editor in a real terminal: keys, mouse, search, sizes; what is saved is in the file and nothing else changed;
/// the terminal is given back.
#[test]
fn editor() {
    if tmux_missing("config::editor") {
        return;
    }
    let space = Space::new();
    let file = space.path("user.toml");
    fs::write(&file, MINE).expect("settings");
    let set = format!("KACHE_CONFIG={} KACHE_LOG=warn", file.display());
    let screen = Screen::open(&space, &set, "config");
    screen.shows(&["kache config", "max_size                5GiB", "environment", "Where the cache is.", "q leave"]);
    // A press on a line chooses it, another one changes it.
    screen.press(10, 6);
    screen.shows(&["Run every tool directly.", "disabled                false"]);
    screen.press(10, 6);
    screen.shows(&["* disabled                true", "1 change not saved"]);
    screen.keys(&["Up", "Enter", "x"]);
    screen.shows(&["5GiBx▏", "must be a size such as 20GiB"]);
    screen.keys(&["C-u", "7", "G", "i", "B", "Enter"]);
    screen.shows(&["* max_size                7GiB", "2 changes not saved"]);
    screen.keys(&["/", "l", "e", "v", "e", "l", "Enter", "u"]);
    screen.shows(&["* level", "KACHE_LOG is set in the environment, and stronger"]);
    screen.tmux(&["resize-window", "-x", "40", "-y", "10"]);
    screen.until("a narrow frame", |text| !text.contains("given by") && text.contains("* level"));
    screen.tmux(&["resize-window", "-x", "110", "-y", "30"]);
    screen.keys(&["Escape"]);
    screen.shows(&["given by", "observe", "3 changes not saved"]);
    assert_eq!(fs::read_to_string(&file).expect("settings"), MINE, "nothing is written before someone says so");
    screen.keys(&["q"]);
    screen.shows(&["Save 3 changes?"]);
    screen.keys(&["Escape"]);
    screen.shows(&["? help"]);
    // Someone else's change in between stays.
    let meanwhile = MINE.replace("# small disk", "# large disk");
    fs::write(&file, &meanwhile).expect("settings");
    screen.keys(&["s"]);
    screen.shows(&["3 changes saved"]);
    let saved = meanwhile.replace("5GiB", "7GiB").replace("[cache]\n", "[cache]\ndisabled = true\n");
    let saved = saved.replace("level = \"info\" # for now\n", "");
    assert_eq!(fs::read_to_string(&file).expect("settings"), saved);
    // What can't be written is said, and the editor stays.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).expect("mode");
    screen.keys(&["Home", "Down", "Down", "Space", "s"]);
    screen.shows(&["max_size                7GiB", "read-only", "1 change not saved"]);
    screen.keys(&["q", "n"]);
    screen.shows(&["before", "left with 0", "line by line"]);
    assert_eq!(fs::read_to_string(&file).expect("settings"), saved);
}

/// Guards: no colours where none are wanted; a signal gives the terminal back and saves nothing; a file that can't be read is
/// no empty one.
#[test]
fn editor_without_colours_and_signals() {
    if tmux_missing("config::editor_without_colours_and_signals") {
        return;
    }
    let space = Space::new();
    let file = space.path("user.toml");
    let set = format!("KACHE_CONFIG={} NO_COLOR=1", file.display());
    let screen = Screen::open(&space, &set, "config");
    screen.keys(&["Down", "Down", "Space"]);
    screen.shows(&["* disabled                true"]);
    let cells = screen.tmux(&["capture-pane", "-p", "-e"]);
    let colours = ["[38;", "[31", "[32", "[33", "[34", "[35", "[36"];
    assert!(!colours.iter().any(|c| cells.contains(c)), "{cells:?}");
    let pid = fs::read_to_string(space.path("pid")).expect("the editor's process");
    space.command("kill", &space.path("")).arg(pid.trim()).run().ok();
    screen.shows(&["before", "left with 0", "line by line"]);
    assert_eq!(fs::read_to_string(&file).expect("settings"), "");
    drop(screen);
    fs::write(&file, "[cache\n").expect("settings");
    let screen = Screen::open(&space, &set, "config");
    screen.shows(&["error:", "user.toml", "line 1", "Correct the file by hand", "left with 1", "line by line"]);
}
