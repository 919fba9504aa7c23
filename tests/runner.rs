//! One executable for all tests of the program: a file per feature, and none forgotten.

mod common;

mod action;
mod cc_crate;
mod cc_declared;
mod cc_fidelity;
mod cc_kinds;
mod cc_stale;
mod cli;
mod commands;
mod config;
mod declared;
mod edit_loop;
mod explain;
mod faults;
mod fidelity;
mod filesystems;
mod init;
mod kinds;
mod monitor;
mod policy;
mod portable;
mod random;
mod reports;
mod run;
mod scripts;
mod stale;

#[test]
fn none_forgotten() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let runner = std::fs::read_to_string(dir.join("runner.rs")).unwrap();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".rs").filter(|m| *m != "runner") {
            assert!(runner.contains(&format!("\nmod {module};\n")), "tests/{name} is not in tests/runner.rs");
        }
    }
}
