//! Without observation, what a compile loads must be known by other means: crates that are named, crates that these were
//! made with, and crates that rustc finds by itself.

use crate::common::*;

/// Compiles `NAME.rs` as a library into `NAME/`, with the same maps in each mode.
fn compile(tree: &Tree<'_>, mode: Mode, name: &str, flags: &str) -> Made {
    let map = format!("--remap-path-prefix={}=.", tree.path.display());
    let args = format!(
        "--crate-name {name} --crate-type lib --edition 2021 --emit=dep-info,metadata,link --out-dir {name} \
         {name}.rs {flags} {map}"
    );
    let cache = tree.space.path(&format!("cache-{mode:?}"));
    let unstable = if flags.contains("-Z") { "1" } else { "0" };
    Made::by(tree.rustc(&args).mode(mode).cache(&cache).env("RUSTC_BOOTSTRAP", unstable), &tree.path.join(name))
}

/// Compiles twice, changes something, and compares with the plain compiler each time; how the first two ended.
fn changes(tree: &Tree<'_>, mode: Mode, name: &str, flags: &str, change: impl Fn()) -> [String; 2] {
    let ended = [0, 1].map(|_| {
        let made = compile(tree, mode, name, flags);
        made.same_as(&compile(tree, Mode::Plain, name, flags));
        made.outcome.ok().outcome(name).to_owned()
    });
    let before = compile(tree, Mode::Plain, name, flags);
    change();
    let made = compile(tree, mode, name, flags);
    let plain = compile(tree, Mode::Plain, name, flags);
    made.same_as(&plain);
    made.outcome.check(plain.files != before.files, "the change of this test must be one that shows");
    ended
}

const BOTH: [Mode; 2] = [Mode::Observed, Mode::Declared];

/// Guards: a crate that no `--extern` names, found where `-L` says.
#[test]
fn a_crate_that_is_searched_for() {
    for mode in BOTH {
        for kind in ["", "crate=", "all="] {
            let space = Space::new();
            let tree = space.tree("w");
            tree.files(&[
                ("b.rs", "pub const N: u32 = 1;\n"),
                ("c.rs", "extern crate b;\npub static N: u32 = b::N;\n"),
            ]);
            compile(&tree, mode, "b", "").outcome.ok();
            let ended = changes(&tree, mode, "c", &format!("-L {kind}b"), || {
                tree.edit("b.rs", "= 1", "= 2");
                compile(&tree, mode, "b", "").outcome.ok();
            });
            let expected = if mode == Mode::Observed { ["miss", "hit"] } else { ["passthrough"; 2] };
            assert_eq!(ended, expected, "{mode:?} {kind}");
        }
    }
}

/// Guards: so may a procedural macro be found, and what it reads nobody declares.
#[test]
fn a_macro_that_is_searched_for() {
    for mode in BOTH {
        let space = Space::new();
        let tree = space.tree("w");
        let told = tree.path.join("told");
        tree.files(&[
            ("told", "1"),
            (
                "m.rs",
                &format!(
                    "extern crate proc_macro;\n#[proc_macro] pub fn tell(_: proc_macro::TokenStream) -> \
                     proc_macro::TokenStream {{ std::fs::read_to_string({told:?}).unwrap().parse().unwrap() }}\n"
                ),
            ),
            ("c.rs", "extern crate m;\npub static N: u32 = m::tell!();\n"),
        ]);
        let line = "--crate-name m --crate-type proc-macro --edition 2021 --out-dir m m.rs";
        tree.rustc(line).plain().run().ok();
        let ended = changes(&tree, mode, "c", "-L m", || tree.write("told", "2"));
        let expected = if mode == Mode::Observed { ["miss", "hit"] } else { ["passthrough"; 2] };
        assert_eq!(ended, expected, "{mode:?}");
    }
}

/// Guards: what a named crate was made with is an input, too, in whichever form it lies there.
#[test]
fn a_crate_that_a_dependency_needs() {
    for mode in BOTH {
        for form in ["rmeta", "rlib"] {
            let space = Space::new();
            let tree = space.tree("w");
            tree.files(&[
                ("b.rs", "pub fn n() -> u32 { 1 }\n"),
                ("a.rs", "pub fn n() -> u32 { b::n() }\n"),
                ("c.rs", "pub fn n() -> u32 { a::n() }\n"),
            ]);
            let only_form = || {
                let other = if form == "rlib" { "rmeta" } else { "rlib" };
                tree.remove(&format!("b/libb.{other}"));
            };
            compile(&tree, mode, "b", "").outcome.ok();
            only_form();
            compile(&tree, mode, "a", &format!("--extern b=b/libb.{form}")).outcome.ok();
            let flags = format!("--extern a=a/liba.{form} -L dependency=b");
            let plain = || compile(&tree, Mode::Plain, "c", &flags);
            for expected in ["miss", "hit"] {
                let made = compile(&tree, mode, "c", &flags);
                made.same_as(&plain()).ok();
                made.outcome.check(made.outcome.outcome("c") == expected, expected);
            }
            // What `a` was made with is gone: rustc refuses what is there now.
            tree.edit("b.rs", "{ 1 }", "{ 2 }");
            compile(&tree, mode, "b", "").outcome.ok();
            only_form();
            compile(&tree, mode, "c", &flags).same_as(&plain()).fails();
            tree.remove("b");
            compile(&tree, mode, "c", &flags).same_as(&plain()).fails();
            // And back.
            tree.edit("b.rs", "{ 2 }", "{ 1 }");
            compile(&tree, mode, "b", "").outcome.ok();
            only_form();
            compile(&tree, mode, "c", &flags).same_as(&plain()).all_hit();
        }
    }
}

/// Guards: directories of other libraries, also shared ones, stay no reason to pass through; a crate that comes there is.
#[test]
fn a_crate_that_comes_where_there_was_none() {
    if !on_path("cc") {
        return skip("a_crate_that_comes_where_there_was_none", "no cc");
    }
    for mode in BOTH {
        let space = Space::new();
        let tree = space.tree("w");
        tree.files(&[
            ("n.c", "int n(void) { return 1; }\n"),
            ("b.rs", "pub const N: u32 = 1;\n"),
            ("c.rs", "pub static N: u32 = 1;\n"),
        ]);
        std::fs::create_dir(tree.path.join("lib")).unwrap();
        let shared = tree.space.command("cc", &tree.path).args("-shared -o lib/libn.so n.c").run();
        shared.ok();
        for expected in ["miss", "hit"] {
            let made = compile(&tree, mode, "c", "-L lib -L nowhere");
            made.outcome.ok().check(made.outcome.outcome("c") == expected, expected);
        }
        compile(&tree, Mode::Plain, "b", "").outcome.ok();
        std::fs::copy(tree.path.join("b/libb.rlib"), tree.path.join("lib/libb.rlib")).unwrap();
        let made = compile(&tree, mode, "c", "-L lib -L nowhere");
        made.same_as(&compile(&tree, Mode::Plain, "c", "-L lib -L nowhere")).ok();
        if mode == Mode::Declared {
            made.outcome.check(made.outcome.event("c").reason() == "searched-crate", "it may be the one that is used");
        }
    }
}

/// Guards: what a target specification says; the name of its file is all that the command line has of it.
#[test]
fn a_target_specification() {
    for mode in BOTH {
        let space = Space::new();
        let tree = space.tree("w");
        let asked = format!("-Zunstable-options --print target-spec-json --target {}", host());
        let told = tree.rustc(&asked).env("RUSTC_BOOTSTRAP", "1").plain().run();
        let of_vendor = |name: &str| told.ok().stdout.replacen('{', &format!("{{\n  \"vendor\": \"{name}\","), 1);
        tree.files(&[
            ("t.json", &of_vendor("one")),
            // Without a library: there is none for such a target.
            (
                "c.rs",
                "#![feature(no_core, lang_items)]\n#![no_core]\n#[lang = \"pointee_sized\"] pub trait P {}\n\
                 #[lang = \"meta_sized\"] pub trait M: P {}\n#[lang = \"sized\"] pub trait S: M {}\n\
                 #[cfg(target_vendor = \"two\")] pub fn two() {}\n",
            ),
        ]);
        let ended = changes(&tree, mode, "c", "-Zunstable-options --target t.json", || {
            tree.write("t.json", &of_vendor("two"));
        });
        let expected = if mode == Mode::Observed { ["miss", "hit"] } else { ["passthrough"; 2] };
        assert_eq!(ended, expected, "{mode:?}");
    }
}

/// Guards: what is known of a library stays as long as the library is used.
#[test]
fn a_library_that_was_compiled_long_ago() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.files(&[("b.rs", "pub fn n() -> u32 { 1 }\n"), ("c.rs", "pub fn n() -> u32 { b::n() }\n")]);
    let cache = space.path("cache-Declared");
    // No housekeeping but this test's.
    write_file(&cache.join("v1/gc.stamp"), "");
    compile(&tree, Mode::Declared, "b", "").outcome.ok();
    let records = || [files_below(&cache.join("v1/actions")), files_below(&cache.join("v1/entries"))].concat();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(40 * 24 * 3600);
    for record in records() {
        std::fs::File::options().write(true).open(record).unwrap().set_modified(long_ago).unwrap();
    }
    let before = records();
    compile(&tree, Mode::Declared, "b", "").outcome.ok().all_hit();
    space.cli("gc").cache(&cache).run().ok();
    assert_eq!(records(), before);
    let dependent = compile(&tree, Mode::Declared, "c", "--extern b=b/libb.rmeta");
    dependent.outcome.ok().check(dependent.outcome.event("c").stored(), "it is still known");
}
