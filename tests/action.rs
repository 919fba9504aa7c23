//! `action.yml`: its shell steps run as a runner of GitHub runs them, with the files a runner gives them; from a release, from
//! a damaged one, from the sources. What the file says in expressions is evaluated here, as far as it says any.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::*;

fn source() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml")).expect("action.yml")
}

/// A step with a shell script; those with `uses` have none and run nowhere but there.
#[derive(Default)]
struct Step {
    id: String,
    condition: String,
    env: Vec<(String, String)>,
    script: String,
}

/// The steps, as this file writes them: keys indented by six, what belongs to a key by eight.
fn steps() -> Vec<Step> {
    let text = source();
    let (_, listed) = text.split_once("\n  steps:\n").expect("steps");
    let mut steps: Vec<Step> = Vec::new();
    let mut block = String::new();
    for line in listed.lines() {
        let line = match line.strip_prefix("    - ") {
            Some(rest) => {
                steps.push(Step::default());
                format!("      {rest}")
            }
            None => line.to_owned(),
        };
        let step = steps.last_mut().expect("a step");
        if let Some(inner) = line.strip_prefix("        ") {
            match (block.as_str(), inner.split_once(": ")) {
                ("run", _) => step.script += &format!("{inner}\n"),
                ("env", Some((name, value))) => step.env.push((name.into(), value.into())),
                ("with", _) => {}
                _ => panic!("{line:?} is not understood"),
            }
        } else if let Some((key, value)) = line.trim().split_once(':') {
            block = key.into();
            match key {
                "id" => step.id = value.trim().into(),
                "if" => step.condition = value.trim().into(),
                _ => {}
            }
        } else if block == "run" {
            step.script += "\n";
        }
    }
    steps
}

/// Names and defaults.
fn inputs() -> BTreeMap<String, String> {
    let text = source();
    let (_, listed) = text.split_once("\ninputs:\n").expect("inputs");
    let (listed, _) = listed.split_once("\n\n").expect("what follows them");
    let mut inputs: Vec<(String, String)> = Vec::new();
    for line in listed.lines() {
        match line.strip_prefix("    ") {
            None => inputs.push((line.trim().trim_end_matches(':').into(), String::new())),
            Some(inner) => {
                if let Some(value) = inner.strip_prefix("default: ") {
                    inputs.last_mut().expect("an input").1 = value.trim_matches('"').into();
                }
            }
        }
    }
    inputs.into_iter().collect()
}

/// A job on a runner: what the steps were told, and what they told it.
struct Job<'s> {
    space: &'s Space,
    /// `inputs.NAME`, `steps.ID.outputs.NAME`, `github.NAME`
    known: BTreeMap<String, String>,
    /// For all later steps.
    env: BTreeMap<String, String>,
    path: Vec<String>,
}

impl<'s> Job<'s> {
    fn new(space: &'s Space) -> Job<'s> {
        let known = [("github.action_repository".into(), "some/kache".into())].into();
        Job { space, known, env: BTreeMap::new(), path: Vec::new() }
    }

    fn value(&self, term: &str) -> String {
        self.known.get(term).cloned().unwrap_or_default()
    }

    fn holds(&self, condition: &str) -> bool {
        condition.split(" && ").all(|term| match term.split_once(" == ") {
            Some((left, right)) => self.value(left) == right.trim_matches('\''),
            None => !self.value(term).is_empty(),
        })
    }

    fn expand(&self, text: &str) -> String {
        let expression = text.strip_prefix("${{ ").and_then(|t| t.strip_suffix(" }}"));
        let terms = expression.unwrap_or_else(|| panic!("{text:?} must be one expression")).split(" || ");
        terms.map(|term| self.value(term)).find(|v| !v.is_empty()).unwrap_or_default()
    }

    fn with_env(&self, mut run: Run<'s>) -> Run<'s> {
        for (name, value) in &self.env {
            run = run.env(name, value);
        }
        let path: Vec<String> =
            self.path.iter().rev().cloned().chain([std::env::var("PATH").expect("a PATH")]).collect();
        run.env("PATH", path.join(":"))
    }

    /// One use of the action, until a step fails; the last step's outcome.
    fn uses(&mut self, given: &[(&str, &str)], server: &Path, action: &Path) -> Option<Outcome> {
        self.known.retain(|name, _| name.starts_with("github."));
        for (name, default) in inputs() {
            let value = given.iter().find(|(given, _)| *given == name).map_or(default, |(_, value)| (*value).into());
            self.known.insert(format!("inputs.{name}"), value);
        }
        let mut last = None;
        for step in steps().into_iter().filter(|s| !s.script.is_empty()) {
            if !self.holds(&step.condition) {
                continue;
            }
            let files = ["GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY"];
            let script = self.space.path("step.sh");
            write_file(&script, &step.script);
            let run = self.space.command("bash", &self.space.path("home")).args("--noprofile --norc -eo pipefail");
            let mut run = self.with_env(run.arg(&script)).env("RUNNER_OS", "Linux");
            for (name, value) in &step.env {
                run = run.env(name, self.expand(value));
            }
            for name in files {
                write_file(&self.space.path(name), "");
                run = run.env(name, self.space.path(name));
            }
            let server = format!("file://{}", server.display());
            let out = run.env("GITHUB_SERVER_URL", server).env("GITHUB_ACTION_PATH", action).run();
            let [outputs, env, path, _] = files.map(|name| fs::read_to_string(self.space.path(name)).expect("file"));
            let pairs = |text: &str| -> Vec<(String, String)> {
                let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.into(), value.into()));
                text.lines().map(|line| pair(line).unwrap_or_else(|| panic!("{line:?} must be NAME=VALUE"))).collect()
            };
            for (name, value) in pairs(&outputs) {
                self.known.insert(format!("steps.{}.outputs.{name}", step.id), value);
            }
            self.env.extend(pairs(&env));
            self.path.extend(path.lines().map(String::from));
            let failed = !out.status.success();
            last = Some(out);
            if failed {
                break;
            }
        }
        last
    }
}

/// A server with a release of this version that holds the programs under test.
fn release(space: &Space) -> PathBuf {
    let server = space.path("server");
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("kache-{version}-{}-unknown-linux-gnu", std::env::consts::ARCH);
    let place = server.join("some/kache/releases/download").join(format!("v{version}"));
    for program in [kache(), kache_cli()] {
        let copy = place.join(&name).join("bin").join(program.file_name().expect("name"));
        write_file(&copy, "");
        fs::copy(program, &copy).expect("copy");
    }
    let pack = format!("tar -czf {name}.tar.gz {name} && sha256sum {name}.tar.gz > {name}.tar.gz.sha256");
    space.command("sh", &place).arg("-c").arg(pack).run().ok();
    server
}

fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Guards: from a release to the summary; a second build in the job is served, and only this job is told of.
#[test]
fn a_job() {
    if !on_path("curl") {
        return skip("action::a_job", "curl is not installed");
    }
    let space = Space::new();
    let server = release(&space);
    let mut job = Job::new(&space);
    job.uses(&[("compilers", "true"), ("install", "release")], &server, sources()).expect("steps ran").ok();
    let bin = space.path("home/.local/share/kache-action/bin");
    assert_eq!(job.env["RUSTC_WRAPPER"], bin.join("kache").to_str().expect("UTF-8"));
    assert_eq!(job.env["KACHE_SPARES"], "0", "no copies for a build that never comes");
    assert_eq!(job.env["KACHE_MAX_SIZE"], "2GiB");
    assert!(!job.env.contains_key("CARGO_INCREMENTAL"), "{:?}", job.env);
    assert_eq!(job.path.len(), 2, "{:?}", job.path);
    says(job.with_env(space.command("kache", &bin)).args("--version").run().ok(), &["kache "]);
    assert!(fs::read_link(Path::new(&job.path[1]).join("gcc")).expect("link").ends_with("bin/kache"));

    let tree = space.tree("one");
    app_with_part(&tree, "pub fn tell() -> u32 { 1 }\n");
    let cache = space.path("home/.cache/kache");
    let build = || job.with_env(tree.cargo("build").plain().cache(&cache)).run();
    build().ok();
    tree.clean();
    build().all_hit();
    job.uses(&[("command", "report")], &server, sources()).expect("a step ran").ok();
    let summary = fs::read_to_string(space.path("GITHUB_STEP_SUMMARY")).expect("summary");
    assert!(summary.starts_with("## kache\n") && summary.contains("2 of 4 lookups"), "{summary}");

    // The next run finds the programs in the restored cache and asks nobody for them.
    let mut next = Job::new(&space);
    next.uses(&[("install", "release")], &space.path("nothing"), sources()).expect("steps ran").ok();
    assert_eq!(next.env["RUSTC_WRAPPER"], job.env["RUSTC_WRAPPER"]);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    next.env.insert("KACHE_ACTION_BEGAN".into(), space.command("date", &bin).args("+%s").run().stdout.trim().into());
    next.uses(&[("command", "report")], &server, sources()).expect("a step ran").ok();
    let summary = fs::read_to_string(space.path("GITHUB_STEP_SUMMARY")).expect("summary");
    assert!(summary.contains("Nothing was built"), "{summary}");
}

/// Guards: an archive that is not what was released is never unpacked, whatever may be installed in its place.
#[test]
fn a_damaged_release() {
    if !on_path("curl") {
        return skip("action::a_damaged_release", "curl is not installed");
    }
    let space = Space::new();
    let server = release(&space);
    let archive = files_below(&server).into_iter().find(|f| f.extension().is_some_and(|e| e == "gz")).expect("archive");
    let mut bytes = fs::read(&archive).expect("archive");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&archive, bytes).expect("archive");
    for install in ["auto", "release"] {
        let mut job = Job::new(&space);
        let out = job.uses(&[("install", install)], &server, sources()).expect("steps ran");
        says(out.fails(), &["::error::", "is not what its .sha256 says"]);
        assert!(job.env.is_empty() && job.path.is_empty());
        assert_eq!(files_below(&space.path("home")), [] as [PathBuf; 0]);
    }
}

/// Guards: without a release the action's sources are built; where that was excluded, or is misspelt, it is said.
#[test]
fn no_release() {
    if !on_path("curl") {
        return skip("action::no_release", "curl is not installed");
    }
    let space = Space::new();
    let server = space.path("nothing");
    for (install, word) in [("release", "install: source builds it"), ("sauce", "it must be auto, release or source")] {
        let mut job = Job::new(&space);
        says(job.uses(&[("install", install)], &server, sources()).expect("steps ran").fails(), &["::error::", word]);
        assert!(job.env.is_empty());
    }
    let cargo = format!(
        "#!/bin/sh\necho \"$PWD: $*\" >> {told}\nwhile [ \"$1\" != --root ]; do shift; done\ncp {} {} \"$2/bin/\"\n",
        kache().display(),
        kache_cli().display(),
        told = space.path("told").display()
    );
    write_script(&space.path("fake/cargo"), &cargo);
    for install in ["auto", "source"] {
        let mut job = Job::new(&space);
        job.path.push(space.path("fake").display().to_string());
        job.uses(&[("install", install)], &server, sources()).expect("steps ran").ok();
        assert!(Path::new(&job.env["RUSTC_WRAPPER"]).is_file());
        remove(&space.path("home/.local"));
    }
    let told = fs::read_to_string(space.path("told")).expect("what cargo was told");
    let root = space.path("home/.local/share/kache-action");
    let line = format!("{}: install --locked --path . --root {}\n", sources().display(), root.display());
    assert_eq!(told, line.repeat(2));
}

/// Guards: where kache does not work the job goes on; a report without a set-up is no failure.
#[test]
fn never_in_the_way() {
    let space = Space::new();
    let mut job = Job::new(&space);
    job.env.insert("RUNNER_OS".into(), "Linux".into());
    says(
        job.uses(&[("command", "report")], &space.path(""), sources()).expect("a step ran").ok(),
        &["nothing to report"],
    );
    let (out, told) = place(&space, "Windows", "");
    says(&out, &["::warning::", "Linux only"]);
    assert_eq!(told, "");
    // What no step gave is empty as well in the action's outputs.
    let text = source();
    let (_, outputs) = text.split_once("\noutputs:\n").expect("outputs");
    let (outputs, _) = outputs.split_once("\n\n").expect("what follows them");
    let values: Vec<&str> = outputs.lines().filter_map(|l| l.trim().strip_prefix("value: ")).collect();
    assert!(values.len() == 2 && values.iter().all(|v| v.starts_with("${{ ") && v.ends_with(" }}")), "{values:?}");
}

/// The step that says where things are: what came of it, and its outputs.
fn place(space: &Space, system: &str, version: &str) -> (Outcome, String) {
    let place = steps().into_iter().find(|s| s.id == "place").expect("place");
    write_file(&space.path("step.sh"), &place.script);
    write_file(&space.path("output"), "");
    let run = space.command("bash", &space.path("home")).args("-eo pipefail").arg(space.path("step.sh"));
    let run = run.env("RUNNER_OS", system).env("VERSION", version).env("GITHUB_ACTION_PATH", sources());
    let out = run.env("GITHUB_OUTPUT", space.path("output")).run();
    out.ok();
    (out, fs::read_to_string(space.path("output")).expect("outputs"))
}

/// Guards: an upgraded action finds what the one before it saved. actions/cache restores only what was saved under the same
/// list of paths, whatever the keys are.
#[test]
fn cached_paths_are_of_no_version() {
    let space = Space::new();
    let text = source();
    let cached: Vec<&str> = text
        .split("        path: |\n")
        .skip(1)
        .flat_map(|b| b.lines().map_while(|l| l.strip_prefix("          ")))
        .collect();
    assert!(cached.len() == 4 && cached[..2] == cached[2..], "restored is what is saved: {cached:?}");
    let [one, two] = ["1.0.0", "v2.3.4"].map(|version| place(&space, "Linux", version).1);
    for line in &cached[..2] {
        let name =
            line.strip_prefix("${{ steps.place.outputs.").and_then(|l| l.strip_suffix(" }}")).expect("one output");
        let value = |told: &str| -> String {
            let found = told.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("{name} in {told}")).into()
        };
        assert_eq!(value(&one), value(&two), "{name}");
    }
}

/// Guards: a misspelt name in the file; an expression in a script, where its value would be run as shell.
#[test]
fn names() {
    let (inputs, steps) = (inputs(), steps());
    assert!(inputs.len() > 5 && steps.len() > 5);
    let text = source();
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c)).collect();
    for name in words.iter().filter_map(|w| w.strip_prefix("inputs.")) {
        assert!(inputs.contains_key(name), "inputs.{name}");
    }
    for name in words.iter().filter_map(|w| w.strip_prefix("steps.")) {
        let (id, output) = name.split_once(".outputs.").expect("an output");
        let step = steps.iter().find(|s| s.id == id).unwrap_or_else(|| panic!("no step {id}"));
        assert!(step.script.contains(&format!("echo \"{output}=")), "{name}");
    }
    for step in steps.iter().filter(|s| !s.script.is_empty()) {
        assert!(!step.script.contains("${{"), "{}: {}", step.id, step.script);
        for (name, _) in &step.env {
            assert!(step.script.contains(&format!("${name}")) || step.script.contains(&format!("${{{name}")), "{name}");
        }
    }
    assert_eq!(text.matches("\n      run: |").count(), text.matches("\n      shell: bash\n").count());
}
