//! Edit, build, test: a unit under the editor's hand compiles incrementally, as with plain cargo, and nothing it leaves
//! behind is ever wrong.

use std::path::PathBuf;

use crate::common::*;

fn project<'s>(space: &'s Space, at: &str) -> Tree<'s> {
    let tree = space.tree(at);
    app_with_part(&tree, "pub fn tell() -> u32 { 0 }\n");
    tree
}

fn build<'s>(tree: &Tree<'s>) -> Run<'s> {
    tree.cargo("build").without("CARGO_INCREMENTAL")
}

/// Session directories of the incremental compiler for this crate.
fn sessions(tree: &Tree<'_>, name: &str) -> Vec<PathBuf> {
    let dir = tree.path.join("target/debug/incremental");
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let of_crate = |p: &PathBuf| p.file_name().unwrap().to_string_lossy().starts_with(&format!("{name}-"));
    entries.flatten().map(|e| e.path()).filter(of_crate).collect()
}

fn edit(tree: &Tree<'_>, n: u32) {
    tree.write("part/src/lib.rs", &format!("pub fn tell() -> u32 {{ {n} }}\n#[allow(dead_code)] fn edit_{n}() {{}}\n"));
}

#[track_caller]
fn edits_are_incremental(tree: &Tree<'_>) {
    for n in 1..4 {
        edit(tree, n);
        build(tree).run().ok();
        assert_eq!(tree.execute("target/debug/app").stdout, format!("{n}\n"));
        assert!(!sessions(tree, "part").is_empty(), "an edited unit compiles incrementally");
    }
}

#[test]
fn incremental_is_kept() {
    let space = Space::new();
    let tree = project(&space, "w");
    let out = build(&tree).run();
    out.ok();
    out.check(!sessions(&tree, "part").is_empty(), "the first build in a tree leaves incremental state");
    edits_are_incremental(&tree);
}

#[test]
fn incremental_after_a_restored_build() {
    let space = Space::new();
    build(&project(&space, "a")).run().ok();
    let tree = project(&space, "b");
    build(&tree).run().ok().all_hit();
    edits_are_incremental(&tree);
}

#[test]
fn first_result_in_a_tree_is_stored() {
    let space = Space::new();
    let tree = project(&space, "w");
    let out = build(&tree).run();
    out.ok().check(out.actions().all(Event::stored), "what a tree is built from first is stored");
}

#[test]
fn what_was_edited_is_right_everywhere() {
    // Whatever the policy on intermediate results stores: no tree ever gets anything but its own text's result.
    let space = Space::new();
    let (a, b) = (project(&space, "a"), project(&space, "b"));
    for n in [1, 2, 1, 3, 2] {
        edit(&a, n);
        build(&a).run().ok();
        assert_eq!(a.execute("target/debug/app").stdout, format!("{n}\n"));
        edit(&b, n);
        build(&b).run().ok();
        assert_eq!(b.execute("target/debug/app").stdout, format!("{n}\n"));
        b.clean();
        build(&b).run().ok();
        assert_eq!(b.execute("target/debug/app").stdout, format!("{n}\n"));
        a.assert_fresh_incremental();
    }
}

impl Tree<'_> {
    #[track_caller]
    fn assert_fresh_incremental(&self) {
        let out = build(self).run();
        out.ok().check(out.actions().next().is_none(), "the next build has nothing to do");
    }
}

#[test]
fn state_that_another_unit_left() {
    // rustc takes metadata that did not change from the other unit's state, with its old time: older than the script's run.
    let space = Space::new();
    let tree = project(&space, "w");
    tree.write("part/build.rs", "fn main() { println!(\"cargo:rerun-if-changed=build.rs\") }\n");
    build(&tree).run().ok();
    let flags = || build(&tree).env("RUSTFLAGS", "--cfg special");
    flags().run().ok();
    let out = flags().run();
    out.ok().check(out.actions().next().is_none(), "the next build has nothing to do");
}

#[test]
fn reverted_file() {
    let space = Space::new();
    let tree = project(&space, "w");
    build(&tree).run().ok();
    edit(&tree, 1);
    build(&tree).run().ok();
    tree.write("part/src/lib.rs", "pub fn tell() -> u32 { 0 }\n");
    let out = build(&tree).run();
    out.ok();
    assert_eq!(tree.execute("target/debug/app").stdout, "0\n");
    out.check(out.outcome("part") == "hit", "the text of the first build is found again");
}

#[test]
fn error_and_repair() {
    let space = Space::new();
    let tree = project(&space, "w");
    build(&tree).run().ok();
    tree.write("part/src/lib.rs", "pub fn tell() -> u32 { nothing }\n");
    for _ in 0..2 {
        let out = build(&tree).run();
        out.fails().check(out.stderr.contains("cannot find value"), "the error is shown each time");
    }
    edit(&tree, 1);
    build(&tree).run().ok();
    assert_eq!(tree.execute("target/debug/app").stdout, "1\n");
}

#[test]
fn switched_off_by_setting() {
    let space = Space::new();
    let tree = project(&space, "w");
    for n in 0..3 {
        edit(&tree, n);
        build(&tree).env("KACHE_INCREMENTAL", "0").run().ok();
        assert!(sessions(&tree, "part").is_empty(), "no incremental state is made");
        assert_eq!(tree.execute("target/debug/app").stdout, format!("{n}\n"));
    }
}

#[test]
fn result_compiled_incrementally_does_not_serve_a_request_without() {
    let space = Space::new();
    let tree = project(&space, "w");
    build(&tree).run().ok();
    tree.clean();
    let out = tree.cargo("build").run();
    out.ok();
    out.check(out.actions().all(|e| !e.is_hit()), "incremental results are never reproducible byte for byte");
}
