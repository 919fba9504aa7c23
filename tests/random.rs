//! Wrong hits that nobody thought of: a small project is changed at random, and in each state the plain compiler, kache and
//! kache again must give the same streams, ends and bytes; the last without a compiler.
//!
//! States come back, so that hits are found that should not be. `KACHE_RANDOM=SEED,STEPS` makes other and longer walks.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::common::*;

/// The same numbers in every run: a linear congruential generator (Knuth, MMIX), of which the high bits are used.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// The seed of a walk and the number of its steps.
fn asked(steps: usize) -> (u64, usize) {
    let Ok(text) = std::env::var("KACHE_RANDOM") else { return (1, steps) };
    let numbers = text.split_once(',').and_then(|(seed, steps)| Some((seed.parse().ok()?, steps.parse().ok()?)));
    numbers.unwrap_or_else(|| panic!("KACHE_RANDOM is SEED,STEPS, not {text:?}"))
}

/// A project on its walk: where it stands, and what surrounds it.
struct Walk<'s> {
    tree: Tree<'s>,
    random: Random,
    env: BTreeMap<&'static str, &'static str>,
}

impl<'s> Walk<'s> {
    fn new(space: &'s Space, seed: u64) -> Walk<'s> {
        Walk { tree: space.tree("one/p"), random: Random(seed), env: BTreeMap::new() }
    }

    /// The whole project at one of three places.
    fn moves(&mut self) -> String {
        let to = self.random.of(&["one/p", "two/longer/p", "p"]);
        let from = std::mem::replace(&mut self.tree.path, self.tree.space.site(to));
        if from != self.tree.path {
            fs::create_dir_all(self.tree.path.parent().unwrap()).unwrap();
            fs::rename(from, &self.tree.path).unwrap();
        }
        format!("now at {to}")
    }

    fn sets(&mut self, names: &[&'static str], values: &[&'static str]) -> String {
        let (name, value) = (names[self.random.below(names.len())], values[self.random.below(values.len())]);
        match value {
            "" => self.env.remove(name),
            _ => self.env.insert(name, value),
        };
        format!("{name}={value}")
    }

    /// One digit of a file becomes another one; its size and its time stay.
    fn edits_in_place(&mut self, files: &[&'static str]) -> String {
        let path = self.tree.path.join(self.random.of(files));
        let Ok(mut bytes) = fs::read(&path) else { return format!("no {}", path.display()) };
        let digit = (b'0' + self.random.below(4) as u8, bytes.iter().rposition(u8::is_ascii_digit));
        if let (digit, Some(at)) = digit {
            let time = fs::metadata(&path).unwrap().modified().unwrap();
            bytes[at] = digit;
            fs::write(&path, bytes).unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        format!("{} edited in place", path.display())
    }

    fn surrounds(&self, run: Run<'s>) -> Run<'s> {
        self.env.iter().fold(run, |run, (name, value)| run.env(name, value))
    }

    fn removes(&mut self, files: &[&'static str]) -> String {
        let file = self.random.of(files);
        self.tree.remove(file);
        format!("no {file}")
    }

    fn writes(&mut self, file: &str, text: &str) -> String {
        // Not through a link to another file: that would be another change.
        self.tree.remove(file);
        self.tree.write(file, text);
        format!("{file}: {text}")
    }
}

/// An archive with one function, made without kache.
fn archive(at: &Path, value: usize) {
    fs::create_dir_all(at).unwrap();
    let made = format!(
        "printf 'int in_archive(void) {{ return {value}; }}' | gcc -x c -c - -o x.o && rm -f libx.a && ar Drc libx.a x.o"
    );
    assert!(std::process::Command::new("sh").args(["-c", &made]).current_dir(at).status().unwrap().success());
}

#[test]
fn c_walk() {
    const HEADERS: &[&str] =
        &["i0/h0.h", "i0/h1.h", "i1/h0.h", "i1/h1.h", "i1/h2.h", "src/h0.h", "src/h2.h", "i2/h1.h"];
    const SOURCE: &str = "#include \"h0.h\"\n#if __has_include(\"h1.h\")\n# include <h1.h>\n#endif\n\
        #if __has_include(<h2.h>)\n# include <h2.h>\n#endif\n#ifndef V\n# define V 9\n#endif\n\
        int value = V + __LINE__;\nconst char *file = __FILE__;\nint in_archive(void);\n\
        int main(void) { return value + in_archive(); }\n";
    const TEXTS: &[&str] = &[
        "#undef V\n#define V 1\n",
        "#undef V\n#define V 2\n",
        "#if __has_include_next(<h1.h>)\n# include_next <h1.h>\n#endif\nextern int more1;\n",
        "#warning of a header 1\n",
        "static const char *of_header = __FILE__;\n",
        "#line 40 \"other.h\"\n#define W 1\n",
        "int wrong\n",
    ];
    const FLAGS: &[&str] = &[
        "-Ii0 -Ii1",
        "-Ii1 -Ii0",
        "-Ii2 -Ii0 -Ii1",
        "-iquote i1 -Ii0",
        "-I i0 -idirafter i1",
        "-Ii0 -include h0.h",
        "-Ii1 -O1",
        "-Ii1 -DV=3",
        "-Ii0 -Wall -Wextra",
    ];
    const SCRIPTS: &[&str] = &[
        "$CC $FLAGS -c src/a.c -o out/a.o",
        "$CC $FLAGS -E src/a.c -o out/a.i",
        "$CC $FLAGS -g -c src/a.c -o out/a.o $MAPS",
        "$CC $FLAGS -S src/a.c -o out/a.s",
        "$CC $FLAGS -c src/a.c -o out/a.o && $CC out/a.o -Ll0 -Ll1 -lx -o out/a",
        "$CC $FLAGS -fPIC -c src/a.c -o out/a.o && $CC out/a.o -Ll1 -Ll0 -lx -shared -o out/a.so",
    ];
    let (seed, steps) = asked(60);
    for compilers in compilers("c_walk") {
        let space = Space::new();
        let mut walk = Walk::new(&space, seed);
        walk.tree.files(&[("src/a.c", SOURCE), ("i0/h0.h", TEXTS[0]), ("i1/h1.h", TEXTS[1])]);
        fs::create_dir(walk.tree.path.join("i2")).unwrap();
        archive(&walk.tree.path.join("l0"), 1);
        let (mut flags, mut found) = (FLAGS[0], 0);
        for step in 0..steps {
            let told = match walk.random.below(11) {
                0 | 1 => {
                    let (header, text) = (walk.random.of(HEADERS), walk.random.of(TEXTS));
                    walk.writes(header, text)
                }
                2 | 3 => walk.removes(HEADERS),
                4 => walk.edits_in_place(HEADERS),
                5 => {
                    let (link, to) = (walk.random.of(HEADERS), walk.random.of(HEADERS));
                    walk.tree.remove(link);
                    symlink(Path::new("..").join(to), walk.tree.path.join(link)).unwrap();
                    format!("{link} is a link to {to}")
                }
                6 => walk.sets(
                    &["CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "SOURCE_DATE_EPOCH"],
                    &["", "i0", "i1", "i2:i1", "7"],
                ),
                7 => walk.moves(),
                8 => {
                    let (at, value) = (walk.random.of(&["l0", "l1"]), walk.random.below(3));
                    archive(&walk.tree.path.join(at), value);
                    format!("{at} returns {value}")
                }
                9 => walk.removes(&["l0/libx.a", "l1/libx.a"]),
                _ => {
                    flags = walk.random.of(FLAGS);
                    flags.into()
                }
            };
            let script = walk.random.of(SCRIPTS);
            eprintln!("{}, seed {seed}, step {step}: {told}\n  {script} with {flags}", compilers.0);
            let env = walk.env.iter().map(|(name, value)| format!("export {name}={value}; ")).collect::<String>();
            let script = format!("{env}FLAGS='{flags}'; {script}");
            found += as_plain(&walk.tree, compilers, &script).first.count("hit");
        }
        assert!(found > steps / 10, "only {found} of {steps} states were found again: this walk shows little");
    }
}

const DATA: &[&str] = &["part/text", "part/for-macro", "part/for-script", "part/src/part.rs", "src/main.rs"];

/// A program, a library, a procedural macro and a build script; each reads something.
fn crates(tree: &Tree<'_>) {
    const LIB: &str = "mod part;\nmac::make!();\nconst OF_SCRIPT: &str = env!(\"OF_SCRIPT\");\n\
        pub fn tell() -> String {\n    let of_env = option_env!(\"WALK_1\");\n    \
        format!(\"{} {} {OF_SCRIPT} {of_env:?} {} {}\", part::VALUE, made(), include_str!(\"../text\"), file!())\n}\n";
    app_with_part(tree, LIB);
    let_part_use_a_macro(tree);
    tree.files(&[
        (
            "mac/src/lib.rs",
            "#[proc_macro]\npub fn make(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n    \
            let text = std::fs::read_to_string(std::env::var(\"CARGO_MANIFEST_DIR\").unwrap() + \"/for-macro\");\n    \
            format!(\"fn made() -> &'static str {{ {:?} }}\", text.unwrap_or_default()).parse().unwrap()\n}\n",
        ),
        (
            "part/build.rs",
            "fn main() {\n    let text = std::fs::read_to_string(\"for-script\").unwrap_or_default();\n    \
            println!(\"cargo::rustc-env=OF_SCRIPT={} {:?}\", text.trim(), std::env::var(\"WALK_2\"));\n}\n",
        ),
        ("part/src/part.rs", "pub const VALUE: u8 = 1;\n"),
        ("part/text", "text 1"),
    ]);
}

/// One of them reads something else from now on.
fn changes_a_crate(walk: &mut Walk<'_>) -> String {
    match walk.random.below(5) {
        0 => {
            let place = walk.random.of(&["part/src/part.rs", "part/src/part/mod.rs"]);
            let text = walk.random.of(&["1", "2", "3 + 1", "{ let unused = 1; 4 }", "wrong"]);
            walk.tree.remove("part/src/part");
            walk.tree.remove("part/src/part.rs");
            walk.writes(place, &format!("pub const VALUE: u8 = {text};\n"))
        }
        1 => {
            let (file, text) = (walk.random.of(&DATA[..3]), walk.random.of(&["0", "text 1", "text 2"]));
            walk.writes(file, text)
        }
        2 => walk.removes(&DATA[1..3]),
        3 => walk.edits_in_place(DATA),
        _ => walk.sets(&["WALK_1", "WALK_2"], &["", "a", "b"]),
    }
}

/// From an empty target directory, at several places.
#[test]
fn cargo_walk() {
    let space = Space::new();
    let (seed, steps) = asked(15);
    let mut walk = Walk::new(&space, seed);
    crates(&walk.tree);
    let (mut found, mut args) = (0, "build");
    for step in 0..steps {
        let told = match walk.random.below(7) {
            0 => walk.moves(),
            1 => {
                args = walk.random.of(&["build", "build --release", "check", "test --no-run"]);
                args.into()
            }
            _ => changes_a_crate(&mut walk),
        };
        eprintln!("seed {seed}, step {step}: {told}\n  {args}");
        let build = |mode: Mode| {
            let map = format!("--remap-path-prefix={}=.", walk.tree.path.display());
            let run = walk.tree.cargo(args).mode(mode).env("RUSTFLAGS", map);
            Made::by(walk.surrounds(run), &walk.tree.path.join("target"))
        };
        let (plain, first, again) = (build(Mode::Plain), build(Mode::Observed), build(Mode::Observed));
        for kache in [&first, &again] {
            kache.outcome.same_as(&plain.outcome);
            if plain.outcome.status.success() {
                kache.files.same_bytes(&plain.files);
            }
        }
        if plain.outcome.status.success() {
            again.outcome.all_hit();
        }
        found += first.outcome.count("hit");
    }
    assert!(found > steps, "only {found} hits in states that came back: this walk shows little");
}

/// In target directories that stay, as people have them: two checkouts share the cache, and each has a twin that is built
/// by plain cargo. The same units are built in both, with the same messages, the program says the same, and afterwards
/// nothing is left to do.
#[test]
fn checkouts_walk() {
    let space = Space::new();
    let (seed, steps) = asked(15);
    let mut walk = Walk::new(&space, seed);
    let places = ["a", "far/away/b"].map(|at| (space.site(at), space.site("twins").join(at)));
    for place in places.iter().flat_map(|(checkout, twin)| [checkout, twin]) {
        fs::create_dir_all(place).unwrap();
        crates(&Tree { space: &space, path: place.clone() });
    }
    let (mut found, mut args) = (0, "build");
    for step in 0..steps {
        let (checkout, twin) = &places[walk.random.below(2)];
        let what = walk.random.below(8);
        if what == 0 {
            args = walk.random.of(&["build", "build", "build --release", "check"]);
        }
        let from = walk.random.0;
        let mut results = Vec::new();
        for (place, mode) in [(checkout, Mode::Observed), (twin, Mode::Plain)] {
            walk.random.0 = from;
            walk.tree.path.clone_from(place);
            let told = match what {
                0 => args.into(),
                1 => walk.removes(&["target"]),
                2 => {
                    walk.tree.cargo("clean -p part").plain().run().ok();
                    "cargo clean -p part".into()
                }
                3 => {
                    let file = walk.random.of(&["part/src/lib.rs", "mac/src/lib.rs", "src/main.rs"]);
                    walk.writes(file, &walk.tree.read(file))
                }
                _ => changes_a_crate(&mut walk),
            };
            eprintln!("seed {seed}, step {step}, {}: {told}\n  {args}", place.display());
            let build = || walk.surrounds(walk.tree.cargo(args).mode(mode).without("CARGO_INCREMENTAL")).run();
            let outcome = build();
            found += outcome.count("hit");
            let ran =
                fs::exists(place.join("target/debug/app")).unwrap().then(|| walk.tree.execute("target/debug/app"));
            if outcome.status.success() {
                let next = build();
                next.check(units(&next, place).is_empty(), "the next build must have nothing to do");
            }
            results.push((units(&outcome, place), outcome, ran));
        }
        let [(units, kache, ran), (plain_units, plain, plain_ran)] = &results[..] else { unreachable!() };
        kache.same_as(plain);
        kache.check(units == plain_units, &format!("plain cargo builds {plain_units:?}"));
        match (ran, plain_ran) {
            (Some(ran), Some(plain)) => drop(ran.same_as(plain)),
            _ => kache.check(ran.is_none() && plain_ran.is_none(), "there is a program in both or in none"),
        }
    }
    assert!(found > steps / 3, "only {found} hits: this walk shows little");
}

/// What cargo says it builds.
fn units(outcome: &Outcome, place: &Path) -> Vec<String> {
    let built = |line: &&str| ["Compiling", "Checking"].iter().any(|word| line.trim_start().starts_with(word));
    let mut lines: Vec<_> =
        outcome.stderr.lines().filter(built).map(|line| line.replace(place.to_str().unwrap(), "")).collect();
    lines.sort();
    lines
}
