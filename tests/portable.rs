//! Two checkouts share what they may share, each gets its own paths, and both converge: the next cargo build has nothing
//! to do, in either of them, whatever the other one built meanwhile.

use std::os::unix::fs::symlink;

use crate::common::*;

/// The same project in two places.
fn twice<'s>(space: &'s Space, make: impl Fn(&Tree<'_>)) -> [Tree<'s>; 2] {
    ["a", "second-checkout/somewhere else"].map(|at| {
        let tree = space.tree(at);
        make(&tree);
        tree
    })
}

/// Builds in both; everything in the second one must come from the first. Neither has anything to do afterwards.
#[track_caller]
fn assert_shared(trees: &[Tree<'_>; 2], args: &str) {
    trees[0].cargo(args).run().ok();
    trees[1].cargo(args).run().ok().all_hit();
    trees[0].assert_fresh(args);
    trees[1].assert_fresh(args);
    assert_no_trace(&trees[1], &trees[0]);
}

/// Nothing in this tree's outputs names the other one.
#[track_caller]
fn assert_no_trace(tree: &Tree<'_>, other: &Tree<'_>) {
    let found = files_with(&tree.path.join("target"), other.path.to_str().unwrap());
    assert!(found.is_empty(), "these name another checkout: {found:?}");
}

fn generated(tree: &Tree<'_>) {
    app_with_part(tree, "include!(concat!(env!(\"OUT_DIR\"), \"/code.rs\"));\n");
    tree.write(
        "part/build.rs",
        "fn main() { let out = std::env::var(\"OUT_DIR\").unwrap();
         std::fs::write(out + \"/code.rs\", \"pub fn tell() -> u32 { 7 }\").unwrap();
         println!(\"cargo::rerun-if-changed=build.rs\"); }\n",
    );
}

/// A workspace with most of what projects have.
fn workspace(tree: &Tree<'_>) {
    tree.files(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"app\", \"part\", \"mac\"]\nresolver = \"3\"\n"),
        ("app/Cargo.toml", &manifest("app", "[dependencies]\npart = { path = \"../part\" }\nmac = { path = \"../mac\" }\n")),
        ("app/src/main.rs", "fn main() { println!(\"{} {} {}\", part::tell(), mac::one!(), file!()); }\n#[test] fn t() {}\n"),
        ("app/tests/it.rs", "#[test] fn it() { assert_eq!(part::tell(), 7); }\n"),
        ("app/benches/b.rs", "fn main() {}\n"),
        ("app/examples/e.rs", "fn main() { println!(\"{}\", part::tell()); }\n"),
        ("part/Cargo.toml", &manifest("part", "")),
        ("part/build.rs", "fn main() { let out = std::env::var(\"OUT_DIR\").unwrap();
         std::fs::write(out + \"/code.rs\", \"pub fn tell() -> u32 { 7 }\").unwrap(); }\n"),
        ("part/src/lib.rs", "include!(concat!(env!(\"OUT_DIR\"), \"/code.rs\"));\n#[test] fn t() {}\n"),
        ("mac/Cargo.toml", &manifest("mac", "[lib]\nproc-macro = true\n")),
        ("mac/src/lib.rs", "#[proc_macro] pub fn one(_: proc_macro::TokenStream) -> proc_macro::TokenStream { \"1\".parse().unwrap() }\n"),
    ]);
}

#[test]
fn build() {
    let space = Space::new();
    let trees = twice(&space, workspace);
    assert_shared(&trees, "build");
    for tree in &trees {
        assert_eq!(tree.execute("target/debug/app").stdout, "7 1 app/src/main.rs\n");
    }
}

#[test]
fn build_release() {
    let space = Space::new();
    assert_shared(&twice(&space, workspace), "build --release");
}

/// Guards: a release profile that strips does not bind what procedural macros and build scripts take part in.
#[test]
fn build_stripped() {
    let space = Space::new();
    let strip = |tree: &Tree<'_>| {
        workspace(tree);
        let text = tree.read("Cargo.toml");
        tree.write("Cargo.toml", &format!("{text}\n[profile.dev]\nstrip = true\n"));
    };
    assert_shared(&twice(&space, strip), "build");
}

#[test]
fn check() {
    let space = Space::new();
    assert_shared(&twice(&space, workspace), "check --workspace --all-targets");
}

#[test]
fn clippy() {
    let space = Space::new();
    assert_shared(&twice(&space, workspace), "clippy --workspace --all-targets");
}

#[test]
fn test_executables() {
    let space = Space::new();
    let trees = twice(&space, workspace);
    assert_shared(&trees, "test --workspace --all-targets --no-run");
    for tree in &trees {
        tree.cargo("test --workspace").run().ok();
    }
}

#[test]
fn one_after_the_other_again_and_again() {
    let space = Space::new();
    let trees = twice(&space, workspace);
    assert_shared(&trees, "build");
    for round in 0..3 {
        for (tree, other) in [(&trees[0], &trees[1]), (&trees[1], &trees[0])] {
            if round == 1 {
                tree.clean();
                tree.cargo("build").run().ok().all_hit();
            }
            other.assert_fresh("build");
            tree.assert_fresh("build");
        }
    }
}

#[test]
fn edit_in_one_checkout_leaves_the_other_alone() {
    let space = Space::new();
    let trees = twice(&space, generated);
    assert_shared(&trees, "build");
    trees[1].edit("part/build.rs", "7", "8");
    trees[1].cargo("build").run().ok();
    assert_eq!(trees[1].execute("target/debug/app").stdout, "8\n");
    trees[0].assert_fresh("build");
    assert_eq!(trees[0].execute("target/debug/app").stdout, "7\n");
    trees[0].clean();
    trees[0].cargo("build").run().ok().all_hit();
    assert_eq!(trees[0].execute("target/debug/app").stdout, "7\n");
}

#[test]
fn generated_code_is_shared() {
    let space = Space::new();
    assert_shared(&twice(&space, generated), "build");
}

#[test]
fn another_target_directory() {
    let space = Space::new();
    let tree = space.tree("a");
    generated(&tree);
    tree.cargo("build").run().ok();
    let elsewhere = space.path("elsewhere/target");
    let build = || tree.cargo("build").env("CARGO_TARGET_DIR", &elsewhere).run();
    build().ok().all_hit();
    let next = build();
    next.ok().check(next.actions().next().is_none(), "the next build has nothing to do");
    tree.assert_fresh("build");
    let inside = space.command(elsewhere.join("debug/app"), &tree.path).run();
    assert_eq!(inside.stdout, "7\n");
}

/// Guards: a target directory beside the checkout, named as seen from it, is one like any other.
#[test]
fn a_target_directory_named_through_dots() {
    let space = Space::new();
    let trees = ["one/w", "another-place/w"].map(|at| {
        let tree = space.tree(at);
        workspace(&tree);
        tree.write(".cargo/config.toml", "[build]\ntarget-dir = \"../out\"\n");
        tree
    });
    for incremental in ["0", "1"] {
        let built = |tree: &Tree<'_>| {
            let out = tree.cargo("build").env("CARGO_INCREMENTAL", incremental).run();
            (Snapshot::of(&tree.path.join("../out")), out)
        };
        let (_, first) = built(&trees[0]);
        first.ok().check(first.actions().all(|e| e.stored() || e.is_hit()), "everything is stored");
        remove(&trees[0].path.join("../out"));
        trees[0].cargo("build").env("CARGO_INCREMENTAL", incremental).plain().run().ok();
        let plain = Snapshot::of(&trees[0].path.join("../out"));
        remove(&trees[0].path.join("../out"));
        for tree in &trees {
            let (files, out) = built(tree);
            out.ok().all_hit();
            files.same_names(&plain);
            let of_make = |files: &Snapshot| files.only(|p| p.extension().is_some_and(|e| e == "d"));
            if tree.path == trees[0].path {
                of_make(&files).same_bytes(&of_make(&plain));
            }
            let again = built(tree).1;
            again.ok().check(again.actions().next().is_none(), "the next build has nothing to do");
            let app = tree.space.command(tree.path.join("../out/debug/app"), &tree.path).run();
            assert_eq!(app.ok().stdout, "7 1 app/src/main.rs\n");
            let other = trees.iter().find(|other| other.path != tree.path).expect("the other");
            let out = tree.path.join("../out");
            assert!(files_with(&out, other.path.to_str().unwrap()).is_empty(), "no trace of the other");
            remove(&out);
        }
    }
}

#[test]
fn another_build_directory() {
    let space = Space::new();
    let trees = twice(&space, generated);
    trees[0].cargo("build").run().ok();
    let config = format!("[build]\nbuild-dir = {:?}\n", space.path("intermediate"));
    trees[1].write(".cargo/config.toml", &config);
    trees[1].cargo("build").run().ok().all_hit();
    trees[1].assert_fresh("build");
    assert_eq!(trees[1].execute("target/debug/app").stdout, "7\n");
}

#[test]
fn rustflags_from_the_environment_or_a_file() {
    let space = Space::new();
    let trees = twice(&space, generated);
    trees[0].cargo("build").env("RUSTFLAGS", "-C  debuginfo=1   --cfg=special").run().ok();
    trees[1].write(".cargo/config.toml", "[build]\nrustflags = [\"-C\", \"debuginfo=1\", \"--cfg=special\"]\n");
    trees[1].cargo("build").run().ok().all_hit();
}

#[test]
fn checkout_behind_a_symbolic_link() {
    let space = Space::new();
    let tree = space.tree("a");
    generated(&tree);
    tree.cargo("build").run().ok();
    let link = space.site("link");
    symlink(&tree.path, &link).unwrap();
    tree.clean();
    tree.cargo("build").cwd(&link).env("PWD", &link).run().ok().all_hit();
    assert_eq!(tree.execute("target/debug/app").stdout, "7\n");
}

#[test]
fn target_directory_behind_a_symbolic_link() {
    let space = Space::new();
    let trees = twice(&space, generated);
    for (tree, first) in trees.iter().zip([true, false]) {
        let place = space.site(&format!("{}-target", tree.path.file_name().unwrap().display()));
        std::fs::create_dir(&place).unwrap();
        symlink(&place, tree.path.join("target")).unwrap();
        let out = tree.cargo("build").run();
        out.ok();
        out.check(out.events.iter().all(|e| e.field("stored") == Some(&true.into())), "all is stored");
        out.check(first || out.actions().all(|e| e.is_hit()), "and found in the second checkout");
        tree.assert_fresh("build");
        assert_eq!(tree.execute("target/debug/app").stdout, "7\n");
    }
}

#[test]
fn a_path_in_the_program_is_that_of_its_checkout() {
    let space = Space::new();
    let make = |tree: &Tree<'_>| {
        app_with_part(
            tree,
            "pub fn tell() -> &'static str { concat!(env!(\"CARGO_MANIFEST_DIR\"), \" \", env!(\"OUT_DIR\")) }\n",
        );
        tree.write("part/build.rs", "fn main() {}\n");
    };
    let trees = twice(&space, make);
    for mode in [Mode::Observed, Mode::Declared] {
        for round in 0..2 {
            for tree in &trees {
                tree.clean();
                let out = tree.cargo("build").mode(mode).run();
                out.ok();
                let told = tree.execute("target/debug/app").stdout;
                let place = tree.path.join("part");
                assert!(told.starts_with(place.to_str().unwrap()), "round {round}, {mode:?}: {told}\n{}", out.world());
                assert!(told.contains(&format!("{}/target/debug/build", tree.path.display())), "{told}");
            }
        }
        // In the same place again, everything is found, bound or not.
        trees[0].clean();
        let again = trees[0].cargo("build").mode(mode).run();
        again.check(again.outcome("part") == "hit", "a bound entry is good for its own place");
    }
}

#[test]
fn a_macro_that_hides_the_path_it_read() {
    // The expansion is a number made of the path: no text search finds it.
    let space = Space::new();
    let make = |tree: &Tree<'_>| {
        app_with_part(tree, "pub fn tell() -> usize { mac::tell!() }\n");
        let_part_use_a_macro(tree);
        tree.write(
            "mac/src/lib.rs",
            "#[proc_macro] pub fn tell(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n\
             std::env::var(\"CARGO_MANIFEST_DIR\").unwrap().bytes().map(usize::from).sum::<usize>().to_string().parse().unwrap() }\n",
        );
    };
    let trees = twice(&space, make);
    for tree in [&trees[0], &trees[1], &trees[0]] {
        tree.clean();
        tree.cargo("build").run().ok();
        let sum: usize = tree.path.join("part").to_str().unwrap().bytes().map(usize::from).sum();
        assert_eq!(tree.execute("target/debug/app").stdout.trim(), sum.to_string());
    }
}

#[test]
fn a_macro_that_asks_for_its_working_directory() {
    let space = Space::new();
    let make = |tree: &Tree<'_>| {
        app_with_part(tree, "pub fn tell() -> &'static str { mac::tell!() }\n");
        let_part_use_a_macro(tree);
        tree.write(
            "mac/src/lib.rs",
            "#[proc_macro] pub fn tell(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n\
             format!(\"{:?}\", std::env::current_dir().unwrap().display().to_string().len().to_string()).parse().unwrap() }\n",
        );
    };
    let trees = twice(&space, make);
    for tree in [&trees[0], &trees[1], &trees[0]] {
        tree.clean();
        tree.cargo("build").run().ok();
        let length = tree.path.to_str().unwrap().len();
        assert_eq!(tree.execute("target/debug/app").stdout.trim(), length.to_string());
    }
}

/// A crate `part` whose procedural macro gives a number: this expression of `place`, the directory it works in.
fn part_of_a_place(tree: &Tree<'_>, number: &str) {
    app_with_part(tree, "pub fn tell() -> usize { mac::tell!() }\n");
    let_part_use_a_macro(tree);
    tree.write(
        "mac/src/lib.rs",
        &format!(
            "#[proc_macro] pub fn tell(_: proc_macro::TokenStream) -> proc_macro::TokenStream {{\n\
             let place = std::env::current_dir().unwrap(); let n: usize = {number}; n.to_string().parse().unwrap() }}\n"
        ),
    );
}

/// Guards: what knows its place is bound to it until a second place has given the same; a third one is served.
#[test]
fn lifted_by_a_second_place() {
    let space = Space::new();
    for (at, outcome) in
        [("a", "miss"), ("another", "miss"), ("the/third", "hit"), ("a", "hit"), ("the/last/one", "hit")]
    {
        let tree = space.tree(at);
        part_of_a_place(&tree, "place.exists().into()");
        tree.clean();
        let out = tree.cargo("build").run();
        out.ok().check(out.outcome("part") == outcome, &format!("part in {at}: {outcome}"));
        assert_eq!(tree.execute("target/debug/app").stdout, "1\n");
    }
}

/// Guards: a result that differs between places stays bound, also when two places of one length gave the same.
#[test]
fn not_lifted() {
    let space = Space::new();
    let number = "place.as_os_str().len()";
    for (at, outcome) in [("a", "miss"), ("b", "miss"), ("another", "miss"), ("c/third", "miss"), ("b", "hit")] {
        let tree = space.tree(at);
        part_of_a_place(&tree, number);
        tree.clean();
        let out = tree.cargo("build").run();
        out.ok().check(out.outcome("part") == outcome, &format!("part in {at}: {outcome}"));
        assert_eq!(tree.execute("target/debug/app").stdout, format!("{}\n", tree.path.as_os_str().len()));
    }
}

#[test]
fn units_of_the_two_checkouts_have_the_same_keys() {
    let space = Space::new();
    let trees = twice(&space, workspace);
    let keys = |tree: &Tree<'_>| {
        let out = tree.cargo("build").run();
        out.ok();
        let key = |e: &Event| (e.unit().to_owned(), e.field("key").and_then(|k| k.as_str()).map(str::to_owned));
        let mut keys: Vec<_> = out.actions().map(key).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&trees[0]), keys(&trees[1]));
}

/// Places of the build directory in forms that can't be replaced, or not without making the text untrue.
#[test]
fn places_in_other_forms_are_those_of_the_checkout() {
    let space = Space::new();
    let forms = [
        "format!(\"pub const P: &str = \\\"sqlite://{out}/x.db\\\";\")",
        "format!(\"pub const P: &str = \\\"-isystem{out}\\\";\")",
        "format!(\"const B: [u8; {}] = *b\\\"{out}\\\"; pub const P: &str = match core::str::from_utf8(&B) {{{{ Ok(s) => s, _ => panic!() }}}};\", out.len()).replace(\"{{\", \"{\").replace(\"}}\", \"}\")",
    ];
    for (n, form) in forms.iter().enumerate() {
        let make = |tree: &Tree<'_>| {
            tree.write("Cargo.toml", &manifest("app", "[workspace]\n"));
            tree.write(
                "src/main.rs",
                "include!(concat!(env!(\"OUT_DIR\"), \"/p.rs\"));\nfn main() { println!(\"{P}\"); }\n",
            );
            let script = "fn main() { let out = std::env::var(\"OUT_DIR\").unwrap(); let text = FORM; std::fs::write(format!(\"{out}/p.rs\"), text).unwrap(); }\n";
            tree.write("build.rs", &script.replace("FORM", form));
        };
        for at in ["a", "somewhere/else entirely"] {
            let tree = space.tree(&format!("{n}/{at}"));
            make(&tree);
            tree.cargo("build").run().ok();
            let told = tree.execute("target/debug/app").stdout;
            assert!(told.contains(tree.path.join("target/debug/build").to_str().unwrap()), "{form}: {told}");
        }
    }
}

/// Guards: a variable that a macro asks for binds, and does not where the settings say that it is only a place.
#[test]
fn path_only_variables_do_not_bind() {
    let make = |tree: &Tree<'_>| {
        app_with_part(tree, "pub fn tell() -> &'static str { mac::tell!() }\n");
        let_part_use_a_macro(tree);
        tree.write(
            "mac/src/lib.rs",
            "#[proc_macro] pub fn tell(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n\
             let file = std::env::var(\"ASSETS\").unwrap() + \"/t.txt\";\n\
             format!(\"{:?}\", std::fs::read_to_string(file).unwrap()).parse().unwrap() }\n",
        );
        tree.write("assets/t.txt", "asset");
    };
    let build = |tree: &Tree<'_>, variable: Option<&str>| {
        tree.clean();
        let run = tree.cargo("build").env("ASSETS", tree.path.join("assets"));
        let out = match variable {
            Some(names) => run.env("KACHE_PATH_ONLY_ENV_VARS", names).run(),
            None => run.run(),
        };
        out.ok();
        assert_eq!(tree.execute("target/debug/app").stdout.trim(), tree.read("assets/t.txt"));
        out
    };
    let file = "[cache]\npath_only_env_vars = [\"ASSETS\"]\n";
    // An empty list in the variable is one, too.
    for (variable, in_file, shared) in
        [(None, "", false), (Some("ASSETS"), "", true), (None, file, true), (Some(""), file, false)]
    {
        let space = Space::new();
        std::fs::write(space.path("user.toml"), in_file).unwrap();
        let trees = twice(&space, make);
        drop(build(&trees[0], variable));
        build(&trees[0], variable).all_hit();
        let second = build(&trees[1], variable);
        second.check(second.event("part").is_hit() == shared, &format!("shared: {shared}"));
        trees[1].write("assets/t.txt", "other");
        drop(build(&trees[1], variable));
    }
}

#[test]
fn base_directory() {
    // A file beside the checkouts, read through an absolute path that differs between them.
    let space = Space::new();
    let build = |base: &str, word: &str| {
        let tree = space.tree(&format!("{base}/app"));
        app_with_part(&tree, "mod m;\npub fn tell() -> &'static str { m::WORD }\n");
        tree.write("part/src/m.rs", "include!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/../../shared/word.rs\"));\n");
        space.write(&format!("{base}/shared/word.rs"), &format!("pub const WORD: &str = {word:?};\n"));
        tree.clean();
        let out = tree.cargo("build").env("KACHE_BASE_DIR", space.site(base)).run();
        out.ok();
        assert_eq!(tree.execute("target/debug/app").stdout.trim(), word);
        out
    };
    drop(build("one", "word"));
    build("another", "word").all_hit();
    drop(build("third", "different"));
}

/// Guards: what lies in cargo's home is compiled in its own directory, with absolute paths and capped lints, once.
#[test]
fn registry_crates_are_shared() {
    let space = Space::new();
    let registry = space.path("cargo-home/registry/src/index-1");
    for (file, text) in [
        ("Cargo.toml", &*manifest("dep", "")),
        ("src/lib.rs", "pub fn place() -> &'static str { file!() }\n"),
        ("build.rs", "fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); }\n"),
        (".cargo-checksum.json", "{\"files\":{}}"),
    ] {
        write_file(&registry.join("dep").join(file), text);
    }
    let make = |tree: &Tree<'_>| {
        let source = format!("[source.crates-io]\nreplace-with = \"here\"\n[source.here]\ndirectory = {registry:?}\n");
        tree.write(".cargo/config.toml", &source);
        tree.write("Cargo.toml", &manifest("app", "[dependencies]\ndep = \"0.1\"\n[workspace]\n"));
        tree.write("src/main.rs", "fn main() { println!(\"{}\", dep::place()); }\n");
    };
    let trees = twice(&space, make);
    trees[0].cargo("build").run().ok();
    let second = trees[1].cargo("build").run();
    second.ok().all_hit().check(second.event("dep").is_hit(), "the dependency as well");
    for tree in &trees {
        tree.assert_fresh("build");
        let kache = tree.execute("target/debug/app");
        tree.clean();
        tree.cargo("build").plain().run().ok();
        kache.same_as(&tree.execute("target/debug/app"));
    }
}

#[test]
fn coverage_keeps_real_paths() {
    let space = Space::new();
    let trees = twice(&space, |t| app_with_part(t, "pub fn tell() -> u32 { 1 }\n"));
    let flags = "-C instrument-coverage";
    for tree in [&trees[0], &trees[1], &trees[0]] {
        tree.clean();
        tree.cargo("build").env("RUSTFLAGS", flags).run().ok();
        let kache = tree.snapshot();
        tree.clean();
        tree.cargo("build").plain().env("RUSTFLAGS", flags).run().ok();
        kache.same_bytes(&tree.snapshot());
    }
}

#[test]
fn incremental_state_is_neither_key_nor_output() {
    let space = Space::new();
    let trees = twice(&space, generated);
    let build = |tree: &Tree<'_>| tree.cargo("build").env("CARGO_INCREMENTAL", "1").run();
    build(&trees[0]).ok();
    build(&trees[1]).ok().all_hit();
    let next = build(&trees[1]);
    next.ok().check(next.actions().next().is_none(), "the next build has nothing to do");
}
