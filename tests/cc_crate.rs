//! C in build scripts as the `cc` crate compiles it, with its questions for the compiler's family and its flags, and with
//! whatever it is told to compile with.
//!
//! The crate comes from where cargo put this project's own copy; without it the tests say so and are skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::*;

/// What `cc` needs, by the names in this project's lock file.
const CRATES: [&str; 3] = ["cc", "shlex", "find-msvc-tools"];

const SCRIPT: &str = r#"fn main() {
    cc::Build::new().file("n.c").file("deep/n.c").include("inc").define("ONE", "1")
        .flag_if_supported("-Wno-unused-variable").flag_if_supported("-fno-such-flag-anywhere").compile("n");
    cc::Build::new().cpp(true).file("p.cc").std("c++17").compile("p");
}
"#;

/// The directories of the crates, as cargo fetched them for this project.
fn sources() -> Option<Vec<PathBuf>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--offline", "--format-version=1"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let told: Value = serde_json::from_slice(&cargo.output().ok()?.stdout).ok()?;
    let packages = told["packages"].as_array()?;
    let dir = |name: &&str| {
        let package = packages.iter().find(|p| p["name"] == **name)?;
        Some(Path::new(package["manifest_path"].as_str()?).parent()?.to_owned())
    };
    CRATES.iter().map(dir).collect()
}

fn copy(from: &Path, to: &Path) {
    for file in files_below(from) {
        let place = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(file, place).unwrap();
    }
}

/// A program whose C and C++ parts the crate compiles. The crate lies beside the checkouts, as in a registry.
fn project<'s>(space: &'s Space, at: &str, crates: &[PathBuf]) -> Tree<'s> {
    let vendor = space.path("vendor");
    for (name, dir) in CRATES.iter().zip(crates) {
        copy(dir, &vendor.join(name));
        write_file(&vendor.join(name).join(".cargo-checksum.json"), "{\"files\":{}}");
    }
    let source =
        format!("[source.crates-io]\nreplace-with = \"here\"\n[source.here]\ndirectory = \"{}\"\n", vendor.display());
    write_file(&space.path("cargo-home/config.toml"), &source);
    let tree = space.tree(at);
    tree.files(&[
        (".git/HEAD", ""),
        ("Cargo.toml", &manifest("app", "[build-dependencies]\ncc = \"1\"\n[workspace]\n")),
        (
            "src/main.rs",
            "unsafe extern \"C\" { fn n() -> i32; fn p() -> i32; }\nfn main() { println!(\"{}\", unsafe { n() + p() }); }\n",
        ),
        ("build.rs", SCRIPT),
        ("inc/n.h", "#define TWO 2\n"),
        ("n.c", "#include \"n.h\"\nint deep(void);\nint n(void) { return ONE + TWO + deep(); }\n"),
        ("deep/n.c", "const char *where(void) { return __FILE__; }\nint deep(void) { return sizeof(__FILE__) > 1; }\n"),
        ("p.cc", "#include <string>\nextern \"C\" int p() { return std::string(\"38\").size(); }\n"),
    ]);
    tree
}

/// How a project may be built with kache.
struct Way {
    name: &'static str,
    /// Cargo's wrapper.
    wrapper: Option<PathBuf>,
    /// What stands before the compilers' names; nothing: no compiler is named.
    before: Option<String>,
    /// The script's run is one action, of which its compilers are a part.
    whole: bool,
}

fn ways(space: &Space, (cc, cxx): Compilers) -> Vec<Way> {
    let shims = space.path(&format!("shims-{cc}"));
    fs::create_dir_all(&shims).unwrap();
    for name in [cc, cxx] {
        std::os::unix::fs::symlink(kache(), shims.join(name)).unwrap();
    }
    let way = |name, wrapper: Option<&Path>, before: Option<&str>, whole| Way {
        name,
        wrapper: wrapper.map(Path::to_owned),
        before: before.map(str::to_owned),
        whole,
    };
    let (wrapper, shim) = (format!("{} ", kache().display()), format!("{}/", shims.display()));
    let mut ways = vec![
        way("compiler-wrapper", None, Some(&wrapper), false),
        way("shims", None, Some(&shim), false),
        way("cargo-wrapper", Some(kache()), Some(""), true),
    ];
    if cc == GNU.0 {
        ways.push(way("both-wrappers", Some(kache()), Some(&wrapper), true));
        ways.push(way("cargo-wrapper-and-shims", Some(kache()), Some(&shim), true));
        // Found on PATH. The crate would take it for the compilers, too, were it told of it.
        ways.push(way("cargo-wrapper-by-name", Some(Path::new("kache")), None, true));
    }
    ways
}

/// Guards: the archives are the plain compiler's, a second checkout finds everything, each compile is an action once, and
/// only what the crate asks of the compiler with a file of a new name each time starts one then.
#[test]
fn every_way_to_compile() {
    let test = "every_way_to_compile";
    let Some(crates) = sources() else { return skip(test, "the cc crate is not in cargo's home") };
    let space = Space::new();
    let trees = ["first", "second/place"].map(|at| project(&space, at, &crates));
    for compilers in compilers(test) {
        let expected = trees.each_ref().map(|tree| {
            tree.cargo("clean -p app --release").plain().run().ok();
            tree.cargo("build --release").plain().env("CC", compilers.0).env("CXX", compilers.1).run().ok();
            archives(tree)
        });
        assert!(expected[0].paths().count() == 2, "two archives to compare");
        for way in ways(&space, compilers) {
            let cache = space.path(&format!("{}-{}", compilers.0, way.name));
            for (at, tree) in trees.iter().enumerate() {
                let hits = at == 1;
                tree.cargo("clean -p app --release").plain().run().ok();
                let mut run = tree.cargo("build --release").plain().cache(&cache);
                run = run.env("KACHE_CACHE_DIR", &cache).env("KACHE_CONFIG", space.path("user.toml"));
                if let Some(before) = &way.before {
                    run = run.env("CC", format!("{before}{}", compilers.0));
                    run = run.env("CXX", format!("{before}{}", compilers.1));
                }
                if let Some(wrapper) = &way.wrapper {
                    let dir = kache().parent().unwrap().display();
                    run = run.env("RUSTC_WRAPPER", wrapper);
                    run = run.env("PATH", format!("{dir}:{}", std::env::var("PATH").unwrap()));
                }
                let out = run.run();
                out.ok();
                archives(tree).same_bytes(&expected[at]);
                let ran = tree.execute("target/release/app");
                ran.ok().check(ran.stdout == "6\n", "the C parts work");
                let asked = |e: &&Event| e.name().contains("detect_") || e.reason() == "tool-failed";
                let done: Vec<&Event> = out.actions().filter(|e| !asked(e)).collect();
                let of = |kind: &str| done.iter().filter(|e| e.action() == kind).count();
                let once = if way.whole { (of("build-script"), of("cc")) == (1, 0) } else { of("cc") >= 3 };
                out.check(once, &format!("{}: the script's run is an action, or each of its compiles", way.name));
                out.check(done.iter().all(|e| e.is_hit() == hits && e.stored()), way.name);
            }
        }
    }
}

fn archives(tree: &Tree<'_>) -> Snapshot {
    tree.snapshot().only(|p| p.extension().is_some_and(|e| e == "a"))
}
