//! Stale is impossible: whatever an action depends on, a change of it changes what kache gives, to exactly what the plain
//! compiler gives in the same place and state; and the way back is a hit.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::common::*;

/// One thing that may change under a build.
struct Case<'a> {
    tree: &'a Tree<'a>,
    build: Build,
    /// Declared inputs can't cover this case: everything in it passes through.
    needs_observation: bool,
}

/// A build and what surrounds it: the part of the state that is not in files.
#[derive(Clone)]
struct Build {
    args: String,
    env: Vec<(String, String)>,
    rustflags: String,
    execute: Option<String>,
}

impl Build {
    fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(n, _)| n != name);
        self.env.push((name.into(), value.into()));
    }
}

/// What a build gave, to the eyes of a user.
struct Result {
    cargo: Outcome,
    ran: Option<Outcome>,
    files: Snapshot,
}

impl Result {
    #[track_caller]
    fn same_as(&self, plain: &Result) {
        self.cargo.same_as(&plain.cargo);
        if let (Some(kache), Some(plain)) = (&self.ran, &plain.ran) {
            kache.same_as(plain);
        }
        if plain.cargo.status.success() {
            self.files.same_bytes(&plain.files);
        }
    }

    fn differs_from(&self, other: &Result) -> bool {
        self.cargo.status.code() != other.cargo.status.code()
            || self.cargo.said() != other.cargo.said()
            || self.files != other.files
    }
}

impl<'a> Case<'a> {
    fn new(tree: &'a Tree<'a>) -> Case<'a> {
        let build = Build {
            args: "build".into(),
            env: Vec::new(),
            rustflags: String::new(),
            execute: Some("target/debug/app".into()),
        };
        Case { tree, build, needs_observation: false }
    }

    fn args(mut self, args: &str) -> Self {
        self.build.args = args.into();
        self
    }

    fn needs_observation(mut self) -> Self {
        self.needs_observation = true;
        self
    }

    fn no_executable(mut self) -> Self {
        self.build.execute = None;
        self
    }

    /// From an empty target directory. The user's own map makes the outputs comparable byte for byte: kache's flags
    /// come first and the last match wins.
    fn build(&self, build: &Build, mode: Mode) -> Result {
        self.tree.clean();
        let flags = format!("{} --remap-path-prefix={}=.", build.rustflags, self.tree.path.display());
        let cache = self.tree.space.path(&format!("cache-{mode:?}"));
        let mut run = self.tree.cargo(&build.args).mode(mode).cache(&cache).env("RUSTFLAGS", flags.trim());
        for (name, value) in &build.env {
            run = run.env(name, value);
        }
        let cargo = run.run();
        let ran = match &build.execute {
            Some(path) if cargo.status.success() => Some(self.tree.execute(path)),
            _ => None,
        };
        Result { cargo, ran, files: self.tree.snapshot() }
    }

    /// Build, change, build, and compare with the plain compiler in the changed state; then back again.
    fn changes(self, modes: &[Mode], change: impl Fn(&Tree<'_>, &mut Build)) {
        let space = self.tree.space;
        space.save("before");
        for mode in modes {
            let first = self.build(&self.build, *mode);
            let mut changed = self.build.clone();
            change(self.tree, &mut changed);
            let second = self.build(&changed, *mode);
            let plain = self.build(&changed, Mode::Plain);
            second.same_as(&plain);
            first.cargo.check(second.differs_from(&first), "the change of this test must be one that shows");

            space.put_back("before");
            let back = self.build(&self.build, *mode);
            back.same_as(&first);
            let must_find = match mode {
                Mode::Observed => back.cargo.actions().all(Event::is_hit),
                _ => self.needs_observation || !first.cargo.status.success() || back.cargo.count("hit") > 0,
            };
            if !must_find {
                panic!("the way back must be found\n{}--- at first\n{}", back.cargo.world(), first.cargo.world());
            }
        }
    }
}

const BOTH: &[Mode] = &[Mode::Observed, Mode::Declared];
const OBSERVED: &[Mode] = &[Mode::Observed];

/// An application whose library says what the test makes it say.
fn says<'a>(space: &'a Space, part: &str) -> Tree<'a> {
    let tree = space.tree("w");
    app_with_part(&tree, part);
    tree
}

#[test]
fn source() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u32 { 1 }\n");
    Case::new(&tree).changes(BOTH, |t, _| t.edit("part/src/lib.rs", "{ 1 }", "{ 2 }"));
}

#[test]
fn source_that_no_longer_compiles() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u32 { 1 }\n");
    Case::new(&tree).changes(BOTH, |t, _| t.edit("part/src/lib.rs", "{ 1 }", "{ x }"));
}

#[test]
fn same_size_and_mtime_with_other_bytes() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u32 { 1 }\n");
    Case::new(&tree).changes(BOTH, |t, _| {
        let path = t.path.join("part/src/lib.rs");
        let mtime = fs::metadata(&path).unwrap().modified().unwrap();
        t.edit("part/src/lib.rs", "{ 1 }", "{ 2 }");
        fs::File::options().write(true).open(&path).unwrap().set_modified(mtime).unwrap();
    });
}

#[test]
fn module_at_another_path() {
    let space = Space::new();
    let tree = says(&space, "#[path = \"../elsewhere/m.rs\"] mod m;\npub fn tell() -> u32 { m::N }\n");
    tree.write("part/elsewhere/m.rs", "pub const N: u32 = 1;\n");
    Case::new(&tree).changes(BOTH, |t, _| t.edit("part/elsewhere/m.rs", "1", "2"));
}

#[test]
fn module_outside_the_workspace() {
    let space = Space::new();
    let tree = says(&space, "#[path = \"../../../outside/m.rs\"] mod m;\npub fn tell() -> u32 { m::N }\n");
    space.write("outside/m.rs", "pub const N: u32 = 1;\n");
    Case::new(&tree).changes(BOTH, |t, _| t.space.write("outside/m.rs", "pub const N: u32 = 2;\n"));
}

#[test]
fn second_file_for_a_module() {
    let space = Space::new();
    let tree = says(&space, "mod m;\npub fn tell() -> u32 { m::N }\n");
    tree.write("part/src/m.rs", "pub const N: u32 = 1;\n");
    // rustc refuses a module with two files: what counted before was an absence.
    Case::new(&tree).changes(OBSERVED, |t, _| t.write("part/src/m/mod.rs", "pub const N: u32 = 2;\n"));
}

#[test]
fn included_text() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> &'static str { include_str!(\"../data/t.txt\") }\n");
    tree.write("part/data/t.txt", "one");
    Case::new(&tree).changes(BOTH, |t, _| t.write("part/data/t.txt", "two"));
}

#[test]
fn included_bytes() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u8 { include_bytes!(\"../data/b\")[0] }\n");
    tree.write("part/data/b", "a");
    Case::new(&tree).changes(BOTH, |t, _| t.write("part/data/b", "b"));
}

#[test]
fn included_code() {
    let space = Space::new();
    let tree = says(&space, "include!(\"code.in\");\n");
    tree.write("part/src/code.in", "pub fn tell() -> u32 { 1 }");
    Case::new(&tree).changes(BOTH, |t, _| t.write("part/src/code.in", "pub fn tell() -> u32 { 2 }"));
}

#[test]
fn variable_by_env() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> &'static str { env!(\"TOLD\") }\n");
    let mut case = Case::new(&tree);
    case.build.set("TOLD", "one");
    case.changes(BOTH, |_, b| b.set("TOLD", "two"));
}

#[test]
fn variable_by_option_env() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> &'static str { option_env!(\"TOLD\").unwrap_or(\"nothing\") }\n");
    Case::new(&tree).changes(BOTH, |_, b| b.set("TOLD", "something"));
}

/// Also variables that say nothing when a compiler reads them for itself.
#[test]
fn variable_that_is_noise_to_compilers() {
    let space = Space::new();
    let tree = says(
        &space,
        "pub fn tell() -> String { format!(\"{:?} {:?}\", option_env!(\"LANG\"), option_env!(\"NUM_JOBS\")) }\n",
    );
    Case::new(&tree).changes(BOTH, |_, b| {
        b.set("LANG", "xx");
        b.set("NUM_JOBS", "77");
    });
}

#[test]
fn proc_macro_reads_a_variable_that_is_noise_to_compilers() {
    let space = Space::new();
    let tree = with_macro(&space, "std::env::var(\"LC_MESSAGES\").unwrap_or_default()");
    Case::new(&tree).changes(OBSERVED, |_, b| b.set("LC_MESSAGES", "xx"));
}

/// The linker is another one by its name, although the first one is still there as it was.
#[test]
fn another_linker() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u32 { 1 }\n");
    let linker = space.site("bin/linker");
    write_script(&linker, "#!/bin/sh\nexec cc \"$@\" -Wl,--build-id=0x1234\n");
    Case::new(&tree)
        .needs_observation()
        .changes(OBSERVED, |_, b| b.rustflags = format!("-C linker={}", linker.display()));
}

/// A target directory among devices.
#[test]
fn target_directory_in_shared_memory() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        return skip("target_directory_in_shared_memory", "there is no /dev/shm");
    };
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u32 { 1 }\n");
    for told in ["1", "2"] {
        tree.edit("part/src/lib.rs", "{ 1 }", &format!("{{ {told} }}"));
        tree.cargo("build").env("CARGO_TARGET_DIR", dir.path()).run().ok();
        let app = std::process::Command::new(dir.path().join("debug/app")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&app.stdout).trim(), told);
        fs::remove_dir_all(dir.path().join("debug")).unwrap();
    }
}

/// What a macro writes beside the outputs is no output: a hit would undo what others wrote there since.
#[test]
fn proc_macro_that_writes_a_file_of_the_user() {
    let space = Space::new();
    let file = space.site("state.db");
    let body = format!(
        "let f = {:?}; if !std::path::Path::new(f).exists() {{ std::fs::write(f, \"new\").unwrap(); }} String::new()",
        file
    );
    let tree = with_macro(&space, &body);
    for _ in 0..2 {
        tree.clean();
        tree.cargo("build").run().ok();
        fs::write(&file, "the user's").unwrap();
    }
    tree.clean();
    tree.cargo("build").run().ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), "the user's");
}

#[test]
fn variable_that_becomes_empty() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> String { format!(\"{:?}\", option_env!(\"TOLD\")) }\n");
    Case::new(&tree).changes(BOTH, |_, b| b.set("TOLD", ""));
}

#[test]
fn variable_of_cargo() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> &'static str { env!(\"CARGO_PKG_DESCRIPTION\") }\n");
    tree.edit("part/Cargo.toml", "edition", "description = \"one\"\nedition");
    Case::new(&tree).changes(BOTH, |t, _| t.edit("part/Cargo.toml", "one", "two"));
}

/// A build script that prints what the test wants, from a file that it declares.
fn with_script<'a>(space: &'a Space, part: &str, script: &str) -> Tree<'a> {
    let tree = says(space, part);
    tree.write("part/build.rs", script);
    tree
}

#[test]
fn variable_set_by_a_build_script() {
    let space = Space::new();
    let tree = with_script(
        &space,
        "pub fn tell() -> &'static str { env!(\"FROM_SCRIPT\") }\n",
        "fn main() { println!(\"cargo::rustc-env=FROM_SCRIPT=one\"); }\n",
    );
    Case::new(&tree).changes(BOTH, |t, _| t.edit("part/build.rs", "one", "two"));
}

#[test]
fn cfg_set_by_a_build_script() {
    let space = Space::new();
    let tree = with_script(
        &space,
        "pub fn tell() -> bool { cfg!(special) }\n",
        "fn main() { println!(\"cargo::rustc-check-cfg=cfg(special)\");
         if std::fs::read_to_string(\"switch\").unwrap() == \"on\" { println!(\"cargo::rustc-cfg=special\"); } }\n",
    );
    tree.write("part/switch", "off");
    Case::new(&tree).changes(BOTH, |t, _| t.write("part/switch", "on"));
}

#[test]
fn code_generated_by_a_build_script() {
    let space = Space::new();
    let tree = with_script(
        &space,
        "include!(concat!(env!(\"OUT_DIR\"), \"/code.rs\"));\n",
        "fn main() { let out = std::env::var(\"OUT_DIR\").unwrap();
         let n = std::fs::read_to_string(\"number\").unwrap();
         std::fs::write(format!(\"{out}/code.rs\"), format!(\"pub fn tell() -> u32 {{ {n} }}\")).unwrap(); }\n",
    );
    tree.write("part/number", "1");
    Case::new(&tree).changes(BOTH, |t, _| t.write("part/number", "2"));
}

#[test]
fn feature() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> bool { cfg!(feature = \"more\") }\n");
    tree.write("part/Cargo.toml", &manifest("part", "[features]\nmore = []\n"));
    Case::new(&tree).changes(BOTH, |_, b| b.args = "build --features part/more".into());
}

#[test]
fn cfg() {
    let space = Space::new();
    let tree = says(&space, "#![allow(unexpected_cfgs)]\npub fn tell() -> bool { cfg!(special) }\n");
    Case::new(&tree).changes(BOTH, |_, b| b.rustflags = "--cfg special".into());
}

#[test]
fn rustflags() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> bool { cfg!(debug_assertions) }\n");
    Case::new(&tree).changes(BOTH, |_, b| b.rustflags = "-C debug-assertions=off".into());
}

#[test]
fn lint_level() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u32 { let unused = 2; 1 }\n");
    Case::new(&tree).changes(BOTH, |_, b| b.rustflags = "-D unused_variables".into());
}

#[test]
fn target_cpu() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> bool { cfg!(target_feature = \"sse4.2\") }\n");
    Case::new(&tree).changes(BOTH, |_, b| b.rustflags = "-C target-cpu=x86-64-v2".into());
}

#[test]
fn profile() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u32 { 1 }\n");
    Case::new(&tree).changes(BOTH, |t, _| {
        let text = t.read("Cargo.toml");
        t.write("Cargo.toml", &format!("{text}\n[profile.dev]\nopt-level = 1\n"));
    });
}

#[test]
fn edition() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> &'static str { module_path!() }\n");
    Case::new(&tree).changes(BOTH, |t, _| t.edit("part/Cargo.toml", "2024", "2021"));
}

#[test]
fn dependency_of_a_dependency() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u32 { deep::N }\n");
    tree.write("part/Cargo.toml", &manifest("part", "[dependencies]\ndeep = { path = \"../deep\" }\n"));
    tree.write("deep/Cargo.toml", &manifest("deep", ""));
    tree.write("deep/src/lib.rs", "pub const N: u32 = 1;\n");
    Case::new(&tree).changes(BOTH, |t, _| t.edit("deep/src/lib.rs", "1", "2"));
}

#[test]
fn extern_of_the_same_name() {
    let space = Space::new();
    let tree = space.tree("w");
    tree.write("user.rs", "pub fn tell() -> u32 { part::N }\n");
    // Into an empty directory, as `deps/libpart…` and `out/libuser…`.
    let compile = |dir: &str, rest: &str, mode| {
        tree.remove(dir);
        fs::create_dir(tree.path.join(dir)).unwrap();
        let args = format!("--edition=2024 --crate-type lib --emit=dep-info,metadata,link --out-dir {dir} {rest}");
        let map = format!("--remap-path-prefix={}=.", tree.path.display());
        let out = tree.rustc(&args).arg(map).mode(mode).cache(&space.path(&format!("cache-{mode:?}"))).run();
        out.ok();
        out
    };
    let part = |n: u32, mode| {
        tree.write("part.rs", &format!("pub const N: u32 = {n};\n"));
        compile("deps", "--crate-name part part.rs -C metadata=1", mode)
    };
    let user = |mode| {
        let rest = "--crate-name user user.rs -C metadata=1 -C extra-filename=-1 -L dependency=deps \
                    --extern part=deps/libpart.rmeta";
        (compile("out", rest, mode), Snapshot::of(&tree.path.join("out")))
    };
    for mode in BOTH {
        let out = part(1, *mode);
        out.check(out.event("part").stored(), "stored");
        let (_, one) = user(*mode);
        part(2, *mode).ok();
        let (out, two) = user(*mode);
        out.check(out.outcome("user") == "miss", "another dependency is another action");
        let (_, plain) = user(Mode::Plain);
        two.same_bytes(&plain);
        assert!(one != two);
        part(1, *mode).all_hit();
        let (out, back) = user(*mode);
        out.all_hit();
        back.same_bytes(&one);
    }
}

/// A static C library outside of the workspace, with a function that gives this number.
fn native_library(space: &Space, number: u32) {
    space.write("native/n.c", &format!("int number(void) {{ return {number}; }}\n"));
    let native = space.site("native");
    space.command("cc", &native).args("-c n.c -o n.o").run().ok();
    remove(&native.join("libn.a"));
    space.command("ar", &native).args("rcD libn.a n.o").run().ok();
}

const CALLS_NATIVE: &str =
    "unsafe extern \"C\" { fn number() -> i32; }\npub fn tell() -> i32 { unsafe { number() } }\n";

#[test]
fn native_static_library_rebuilt_in_place() {
    let space = Space::new();
    let tree = says(&space, &format!("#[link(name = \"n\", kind = \"static\")]\n{CALLS_NATIVE}"));
    native_library(&space, 1);
    let mut case = Case::new(&tree);
    case.build.rustflags = format!("-L native={}", space.site("native").display());
    case.changes(BOTH, |t, _| native_library(t.space, 2));
}

#[test]
fn native_library_that_now_comes_first() {
    let space = Space::new();
    let tree = says(&space, &format!("#[link(name = \"n\", kind = \"static\")]\n{CALLS_NATIVE}"));
    native_library(&space, 1);
    fs::create_dir_all(space.site("first")).unwrap();
    fs::write(space.site("first/.keep"), "").unwrap();
    let mut case = Case::new(&tree);
    let (first, native) = (space.site("first"), space.site("native"));
    case.build.rustflags = format!("-L native={} -L native={}", first.display(), native.display());
    case.changes(BOTH, |t, _| {
        native_library(t.space, 2);
        fs::rename(t.space.site("native/libn.a"), t.space.site("first/libn.a")).unwrap();
        native_library(t.space, 1);
    });
}

#[test]
fn object_named_by_link_arg() {
    let space = Space::new();
    let tree = says(&space, CALLS_NATIVE);
    native_library(&space, 1);
    tree.write(
        "build.rs",
        &format!("fn main() {{ println!(\"cargo::rustc-link-arg-bins={}\"); }}\n", space.site("native/n.o").display()),
    );
    Case::new(&tree).changes(BOTH, |t, _| native_library(t.space, 2));
}

#[test]
fn linker() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u32 { 1 }\n");
    let linker = space.site("bin/linker");
    write_script(&linker, "#!/bin/sh\nexec cc \"$@\"\n");
    let mut case = Case::new(&tree).needs_observation();
    case.build.rustflags = format!("-C linker={}", linker.display());
    case.changes(BOTH, |t, _| {
        write_script(&t.space.site("bin/linker"), "#!/bin/sh\nexec cc \"$@\" -Wl,--build-id=0x1234\n");
    });
}

#[test]
fn linker_found_first_on_path() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u32 { 1 }\n");
    fs::create_dir_all(space.site("bin")).unwrap();
    fs::write(space.site("bin/.keep"), "").unwrap();
    let real =
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|d| d.join("cc")).find(|p| p.is_file()).unwrap();
    let mut case = Case::new(&tree);
    let path = format!("{}:{}", space.site("bin").display(), std::env::var("PATH").unwrap());
    case.build.set("PATH", &path);
    case.changes(BOTH, |t, _| {
        let script = format!("#!/bin/sh\nexec {} \"$@\" -Wl,--build-id=0x1234\n", real.display());
        write_script(&t.space.site("bin/cc"), &script);
    });
}

#[test]
fn linker_script() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u32 { 1 }\n");
    space.write("link/extra.ld", "extra_symbol = 0x1234;\n");
    let mut case = Case::new(&tree).needs_observation();
    case.build.rustflags = format!("-C link-arg={}", space.site("link/extra.ld").display());
    case.changes(BOTH, |t, _| t.space.write("link/extra.ld", "extra_symbol = 0x1235;\n"));
}

/// A proc macro `tell!()` whose expansion is the value of this expression of type `String`, evaluated in the compiler.
fn with_macro<'a>(space: &'a Space, expression: &str) -> Tree<'a> {
    let tree = says(space, "pub fn tell() -> &'static str { mac::tell!() }\n");
    let_part_use_a_macro(&tree);
    let body = format!(
        "use proc_macro::TokenStream;\n#[proc_macro]\npub fn tell(_: TokenStream) -> TokenStream {{\n\
         let told: String = {{ {expression} }};\nformat!(\"{{told:?}}\").parse().unwrap()\n}}\n"
    );
    tree.write("mac/src/lib.rs", &body);
    tree
}

/// The directory of the package that is being compiled.
const PACKAGE: &str = "let dir = std::env::var(\"CARGO_MANIFEST_DIR\").unwrap();";

#[test]
fn proc_macro_itself() {
    let space = Space::new();
    let tree = with_macro(&space, "\"one\".to_string()");
    Case::new(&tree).needs_observation().changes(BOTH, |t, _| t.edit("mac/src/lib.rs", "one", "two"));
}

#[test]
fn proc_macro_reads_a_file_of_the_package() {
    let space = Space::new();
    let tree = with_macro(&space, &format!("{PACKAGE} std::fs::read_to_string(dir + \"/told.txt\").unwrap()"));
    tree.write("part/told.txt", "one");
    Case::new(&tree).changes(OBSERVED, |t, _| t.write("part/told.txt", "two"));
}

#[test]
fn proc_macro_reads_a_file_outside_the_workspace() {
    let space = Space::new();
    let file = space.site("outside/told.txt");
    let tree = with_macro(&space, &format!("std::fs::read_to_string({file:?}).unwrap()"));
    space.write("outside/told.txt", "one");
    Case::new(&tree).changes(OBSERVED, |t, _| t.space.write("outside/told.txt", "two"));
}

#[test]
fn proc_macro_reads_the_manifest() {
    let space = Space::new();
    let tree = with_macro(&space, &format!("{PACKAGE} std::fs::read_to_string(dir + \"/Cargo.toml\").unwrap()"));
    Case::new(&tree).changes(OBSERVED, |t, _| {
        let text = t.read("part/Cargo.toml");
        t.write("part/Cargo.toml", &format!("{text}# a word that cargo does not care for\n"));
    });
}

#[test]
fn proc_macro_lists_a_directory() {
    let space = Space::new();
    let tree =
        with_macro(&space, &format!("{PACKAGE} std::fs::read_dir(dir + \"/items\").unwrap().count().to_string()"));
    tree.write("part/items/one", "");
    Case::new(&tree).changes(OBSERVED, |t, _| t.write("part/items/two", ""));
}

#[test]
fn proc_macro_reads_a_variable() {
    let space = Space::new();
    let tree = with_macro(&space, "std::env::var(\"TOLD\").unwrap_or_default()");
    Case::new(&tree).changes(OBSERVED, |_, b| b.set("TOLD", "something"));
}

#[test]
fn proc_macro_lists_all_variables() {
    let space = Space::new();
    let tree = with_macro(&space, "std::env::vars().filter(|(n, _)| n.starts_with(\"TOLD\")).count().to_string()");
    Case::new(&tree).changes(OBSERVED, |_, b| b.set("TOLD_MORE", "something"));
}

#[test]
fn proc_macro_runs_a_program() {
    let space = Space::new();
    let file = space.site("outside/told.txt");
    let run = format!("std::process::Command::new(\"cat\").arg({file:?}).output().unwrap().stdout");
    let tree = with_macro(&space, &format!("String::from_utf8({run}).unwrap()"));
    space.write("outside/told.txt", "one");
    Case::new(&tree).changes(OBSERVED, |t, _| t.space.write("outside/told.txt", "two"));
}

/// Guards: where `PWD` names the workspace by a link, a macro's shells tell that name.
#[test]
fn proc_macro_asks_a_shell_where_it_is() {
    let space = Space::new();
    let pwd = "std::process::Command::new(\"sh\").args([\"-c\", \"pwd\"]).output().unwrap().stdout";
    let tree = with_macro(&space, &format!("String::from_utf8({pwd}).unwrap()"));
    symlink("w", space.site("link")).unwrap();
    let mut case = Case::new(&tree);
    case.build.set("PWD", space.site("w").to_str().unwrap());
    case.changes(OBSERVED, |t, b| b.set("PWD", t.space.site("link").to_str().unwrap()));
}

#[test]
fn proc_macro_probes_a_file_that_appears() {
    let space = Space::new();
    let tree =
        with_macro(&space, &format!("{PACKAGE} std::path::Path::new(&(dir + \"/switch\")).exists().to_string()"));
    Case::new(&tree).changes(OBSERVED, |t, _| t.write("part/switch", ""));
}

#[test]
fn proc_macro_asks_for_the_size_of_a_file() {
    let space = Space::new();
    let tree = with_macro(&space, &format!("{PACKAGE} std::fs::metadata(dir + \"/f\").unwrap().len().to_string()"));
    tree.write("part/f", "1");
    Case::new(&tree).changes(OBSERVED, |t, _| t.write("part/f", "12"));
}

#[test]
fn proc_macro_follows_a_link_that_moves() {
    let space = Space::new();
    let tree = with_macro(&space, &format!("{PACKAGE} std::fs::read_to_string(dir + \"/link\").unwrap()"));
    tree.write("part/one", "one");
    tree.write("part/two", "two");
    symlink("one", tree.path.join("part/link")).unwrap();
    Case::new(&tree).changes(OBSERVED, |t, _| {
        t.remove("part/link");
        symlink("two", t.path.join("part/link")).unwrap();
    });
}

#[test]
fn proc_macro_reads_what_a_link_says() {
    let space = Space::new();
    let read = "std::fs::read_link(dir + \"/link\").unwrap().display().to_string()";
    let tree = with_macro(&space, &format!("{PACKAGE} {read}"));
    symlink("one", tree.path.join("part/link")).unwrap();
    Case::new(&tree).changes(OBSERVED, |t, _| {
        t.remove("part/link");
        symlink("two", t.path.join("part/link")).unwrap();
    });
}

#[test]
fn clippy_configuration() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell(a: u8, b: u8, c: u8) -> u8 { a + b + c }\n");
    tree.write("src/main.rs", "fn main() { part::tell(1, 2, 3); }\n");
    tree.write("clippy.toml", "too-many-arguments-threshold = 3\n");
    Case::new(&tree).args("clippy --workspace").no_executable().changes(OBSERVED, |t, _| {
        t.write("clippy.toml", "too-many-arguments-threshold = 2\n");
    });
}

/// Guards: unstable features are allowed where a variable says so, and only there.
#[test]
fn unstable_features_are_allowed_by_a_variable() {
    let space = Space::new();
    let tree = says(&space, "#![feature(never_type)]\npub fn tell() -> u32 { 1 }\n");
    let mut case = Case::new(&tree);
    case.build.set("RUSTC_BOOTSTRAP", "1");
    case.changes(BOTH, |_, b| b.env.clear());
}

/// Guards: that rustc names its reports by the clock then, hides no macro that reads it.
#[test]
fn proc_macro_reads_the_clock() {
    for (unstable, incremental, reports) in
        [("1", "0", "."), ("1", "1", "."), ("1", "0", "0"), ("0", "1", "."), ("0", "0", ".")]
    {
        let space = Space::new();
        let tree = with_macro(&space, "format!(\"{:?}\", std::time::SystemTime::now())");
        let run = tree.cargo("build").env("RUSTC_BOOTSTRAP", unstable).env("CARGO_INCREMENTAL", incremental);
        let out = run.env("RUSTC_ICE", reports).run();
        let part = out.ok().event("part");
        out.check(!part.stored() && part.reason() == "clock", "it is another time each time");
        out.check(out.event("mac").stored(), "compiling the macro reads none");
    }
}

#[test]
fn clippy_arguments() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u8 { return 1 }\n");
    Case::new(&tree).args("clippy --workspace").no_executable().changes(OBSERVED, |_, b| {
        b.args = "clippy --workspace -- -A clippy::needless_return".into();
    });
}

/// A toolchain of its own, which a test may change: a compiler and its library, and symbolic links to the rest. (Hard links
/// would give the real one's files new times, and other tests run with it.)
fn toolchain_of_links(at: &Path) {
    fn links(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().flatten() {
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().unwrap().is_dir() {
                links(&source, &target);
            } else if name == "rustc" || name.starts_with("librustc_driver-") {
                // Where this library lies, the compiler looks for all else.
                fs::copy(&source, &target).unwrap();
            } else {
                symlink(&source, &target).unwrap();
            }
        }
    }
    for dir in ["bin", "lib"] {
        links(&sysroot().join(dir), &at.join(dir));
    }
}

#[test]
fn rustc_replaced_by_another_with_the_same_version_line() {
    let space = Space::new();
    let tree = says(&space, "#![allow(unexpected_cfgs)]\npub fn tell() -> bool { cfg!(special) }\n");
    let script = space.site("bin/rustc");
    write_script(&script, &format!("#!/bin/sh\nexec {} \"$@\"\n", rustc().display()));
    // A declared tool is known by its file, so the same bytes in a new file are another one: a miss, and right.
    let mut case = Case::new(&tree).needs_observation();
    case.build.set("RUSTC", script.to_str().unwrap());
    case.changes(BOTH, |t, _| {
        write_script(
            &t.space.site("bin/rustc"),
            &format!("#!/bin/sh\nexec {} \"$@\" --cfg special\n", rustc().display()),
        );
    });
}

#[test]
fn library_of_the_toolchain_changes() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u32 { 1 }\n");
    let toolchain = space.path("toolchain");
    toolchain_of_links(&toolchain);
    let build = || {
        tree.clean();
        let out = tree.cargo("build").env("RUSTC", toolchain.join("bin/rustc")).run();
        out.ok();
        out
    };
    drop(build());
    build().all_hit();
    // The compiler itself is a small program; what it does is in this library. More bytes at its end change nothing.
    let below = files_below(&toolchain.join("lib"));
    let driver =
        below.iter().find(|p| p.file_name().unwrap().to_string_lossy().starts_with("librustc_driver-")).unwrap();
    let bytes = fs::read(driver).unwrap();
    fs::remove_file(driver).unwrap();
    fs::write(driver, [&bytes[..], b" "].concat()).unwrap();
    let out = build();
    out.check(out.outcome("part") == "miss", "another toolchain is another tool");
}

#[test]
fn path_used_without_containing_it() {
    let space = Space::new();
    let length = "pub fn tell() -> usize { const L: usize = env!(\"CARGO_MANIFEST_DIR\").len(); L }\n";
    for mode in BOTH {
        for at in ["w", "much-longer-than-that", "w"] {
            let tree = space.tree(at);
            app_with_part(&tree, length);
            tree.clean();
            tree.cargo("build").mode(*mode).cache(&space.path(&format!("cache-{mode:?}"))).run().ok();
            let told = tree.execute("target/debug/app");
            told.check(
                told.stdout.trim() == tree.path.join("part").to_str().unwrap().len().to_string(),
                "the length is that of this checkout's path",
            );
        }
    }
}

#[test]
fn edit_during_the_build() {
    for mode in BOTH {
        let space = Space::new();
        let tree = says(&space, "mod value;\npub fn tell() -> u32 { value::N }\n");
        tree.write("part/src/value.rs", "pub const N: u32 = 1;\n");
        // A compiler that has read all and written all, and has not ended.
        let pause = Pause::new(&space, "part", "after");
        let build = |mode| {
            let map = format!("--remap-path-prefix={}=.", tree.path.display());
            tree.cargo("build").mode(mode).env("RUSTC", &pause.rustc).env("RUSTFLAGS", map)
        };
        let edit = || tree.write("part/src/value.rs", "pub const N: u32 = 2;\n");
        let out = pause.during(build(*mode), edit);
        let part = out.ok().event("part");
        out.check(part.outcome() == "miss" && !part.stored(), "it was made of a text that is no more");
        out.check(["too-new", "changed-input"].contains(&part.reason()), "and that is told");
        let told = part.field("detail").and_then(|d| d.as_str());
        out.check(told.is_some_and(|d| d.ends_with("part/src/value.rs")), "with the file");

        tree.clean();
        build(Mode::Plain).run().ok();
        let plain = tree.snapshot();
        tree.clean();
        let out = build(*mode).run();
        out.ok()
            .check(out.event("part").stored(), "what was compiled from the old text does not stand for the new one");
        tree.snapshot().same_bytes(&plain);
        assert_eq!(tree.execute("target/debug/app").stdout, "2\n");
        tree.clean();
        let out = build(*mode).run();
        out.ok().check(out.event("part").is_hit(), "the new one is found");
        tree.snapshot().same_bytes(&plain);
    }
}

#[test]
fn clippy_configuration_appears() {
    let space = Space::new();
    let tree = says(&space, "pub fn tell() -> u32 { 1 }\npub fn many(_: u8, _: u8, _: u8) {}\n");
    let case = Case::new(&tree).args("clippy -p part").no_executable().needs_observation();
    case.changes(BOTH, |t, _| t.write("part/clippy.toml", "too-many-arguments-threshold = 2\n"));
}
