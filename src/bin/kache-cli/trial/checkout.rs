//! Copies of a project's sources, and the disk that trees of files take. Knows nothing about caches; git and cargo only
//! as far as they say what belongs to the project.

use crate::fail::Fail;
use kache_os::{FileKind, lstat};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A project as it lies on the disk.
#[derive(Debug)]
pub struct Project {
    /// What is copied: the repository, or the directory above the workspace and its path dependencies.
    pub base: PathBuf,
    /// From `base` to where cargo is to run.
    pub dir: PathBuf,
    /// From `base` to the workspace.
    pub workspace: PathBuf,
    /// A configuration puts the target directory elsewhere than below the workspace.
    pub target_is_elsewhere: bool,
    in_git: bool,
}

impl Project {
    /// `cargo` makes a command with the environment of the measurement.
    pub fn find(dir: &Path, home: Option<&Path>, cargo: &dyn Fn() -> Command) -> Result<Project, Fail> {
        let dir = std::fs::canonicalize(dir).map_err(|e| Fail::Failed(format!("{}: {e}", dir.display())))?;
        if !dir.join("Cargo.toml").is_file() {
            return Err(Fail::Failed(format!(
                "{} has no Cargo.toml: name the directory of a cargo project",
                dir.display()
            )));
        }
        let Packages { workspace, locals, target_is_elsewhere } = Packages::find(&dir, cargo)?;
        let ancestor = locals.iter().fold(workspace.clone(), |base, local| common(&base, local));
        let top = git(&ancestor).args(["rev-parse", "--show-toplevel"]).output().ok().filter(|o| o.status.success());
        let top = top.and_then(|o| std::fs::canonicalize(String::from_utf8_lossy(&o.stdout).trim_end()).ok());
        // A repository of somebody's whole home is not the project's.
        let top = top.filter(|top| {
            ancestor.starts_with(top) && home.is_none_or(|h| !h.starts_with(top)) && tracks(top, &workspace)
        });
        let base = top.clone().unwrap_or(ancestor);
        let below = |path: &Path| path.strip_prefix(&base).unwrap_or(Path::new("")).to_path_buf();
        Ok(Project { dir: below(&dir), workspace: below(&workspace), target_is_elsewhere, in_git: top.is_some(), base })
    }

    pub fn name(&self) -> String {
        let path = self.base.join(&self.dir);
        path.file_name().map_or_else(|| "project".into(), |n| n.to_string_lossy().into_owned())
    }

    /// Cargo's configuration files above what is copied: a build in a copy would not find them.
    pub fn configs_above(&self) -> Vec<PathBuf> {
        let above = self.base.ancestors().skip(1).map(|d| d.join(".cargo/config.toml"));
        above.filter(|f| f.is_file()).collect()
    }

    /// Copies the sources to `to`, which is made; whatever stands below `without` stays out.
    pub fn copy(&self, to: &Path, without: &Path) -> Result<(), Fail> {
        if self.in_git {
            for file in listed(&self.base)? {
                copy_one(&self.base.join(&file), &to.join(&file))?;
            }
            // Libraries often leave their lock file out of git; without it other versions would be built.
            let lock = self.workspace.join("Cargo.lock");
            copy_one(&self.base.join(&lock), &to.join(&lock))?;
            imitate_repository(&self.base, to);
        } else {
            copy_tree(&self.base, to, &mut |dir| dir == without || is_build_output(dir) || dir.ends_with(".git"))?;
        }
        Ok(())
    }
}

/// What cargo says of a workspace.
struct Packages {
    workspace: PathBuf,
    /// The directories of packages that are not from a registry.
    locals: Vec<PathBuf>,
    target_is_elsewhere: bool,
}

impl Packages {
    /// Reads manifests only: nothing is resolved, so nothing is written to the project.
    fn find(dir: &Path, cargo: &dyn Fn() -> Command) -> Result<Packages, Fail> {
        let first = metadata(dir, cargo)?;
        let canonical = |p: PathBuf| std::fs::canonicalize(&p).unwrap_or(p);
        let text = |name: &str| first[name].as_str().map(PathBuf::from);
        let named = text("workspace_root").ok_or_else(|| Fail::Failed("cargo metadata names no workspace".into()))?;
        let usual = named.join("target");
        let target_is_elsewhere =
            ["target_directory", "build_directory"].iter().any(|n| text(n).is_some_and(|t| t != usual));
        let workspace = canonical(named);
        let mut locals: Vec<PathBuf> = Vec::new();
        let mut to_read = vec![first];
        while let Some(metadata) = to_read.pop() {
            for package in metadata["packages"].as_array().into_iter().flatten() {
                locals.extend(
                    package["manifest_path"].as_str().and_then(|p| Some(canonical(Path::new(p).parent()?.into()))),
                );
                let paths = package["dependencies"].as_array().into_iter().flatten().filter_map(|d| d["path"].as_str());
                for path in paths.map(|p| canonical(p.into())) {
                    if !locals.contains(&path) && !path.starts_with(&workspace) {
                        to_read.push(self::metadata(&path, cargo)?);
                        locals.push(path);
                    }
                }
            }
        }
        Ok(Packages { workspace, locals, target_is_elsewhere })
    }
}

fn metadata(dir: &Path, cargo: &dyn Fn() -> Command) -> Result<serde_json::Value, Fail> {
    let mut command = cargo();
    command.args(["metadata", "--no-deps", "--format-version=1"]).current_dir(dir).stdin(Stdio::null());
    let output = command.output().map_err(|e| Fail::Failed(format!("cargo can't be run: {e}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Fail::Failed(format!("cargo does not understand {}:\n\n{}", dir.display(), said.trim_end())));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The nearest directory above both.
fn common(a: &Path, b: &Path) -> PathBuf {
    a.components().zip(b.components()).take_while(|(x, y)| x == y).map(|(x, _)| x).collect()
}

fn git(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(dir).stdin(Stdio::null()).stderr(Stdio::null());
    // A hook or alias may have set these for another repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    command
}

/// Whether the manifest is part of the repository, and not something ignored inside of it.
fn tracks(top: &Path, workspace: &Path) -> bool {
    let ignored = git(top).args(["check-ignore", "--quiet"]).arg(workspace.join("Cargo.toml")).status();
    ignored.is_ok_and(|s| s.code() == Some(1))
}

/// Tracked files, those of submodules too, and new ones that are not ignored.
fn listed(base: &Path) -> Result<Vec<PathBuf>, Fail> {
    let mut files = Vec::new();
    for args in [["--cached", "--recurse-submodules"], ["--others", "--exclude-standard"]] {
        let output = git(base).args(["ls-files", "-z"]).args(args).output()?;
        if !output.status.success() {
            return Err(Fail::Failed(format!("git can't list the files of {}", base.display())));
        }
        let names = output.stdout.split(|b| *b == 0).filter(|name| !name.is_empty());
        files.extend(names.map(|name| kache_os::path(name).to_path_buf()));
    }
    Ok(files)
}

/// Gives the copy a repository that shares the original's objects: build scripts ask git for the commit. Where that does
/// not work (no commit yet), the copy goes without.
fn imitate_repository(base: &Path, copy: &Path) {
    let bare = copy.join(".git-of-original");
    let cloned =
        git(base).args(["clone", "--quiet", "--shared", "--no-checkout", "--no-tags"]).arg(base).arg(&bare).status();
    if cloned.is_ok_and(|s| s.success()) && std::fs::rename(bare.join(".git"), copy.join(".git")).is_ok() {
        let _ = git(copy).args(["reset", "--quiet"]).status();
    }
    let _ = std::fs::remove_dir_all(bare);
}

/// A target directory, by the marks cargo leaves in it; `target` alone may be somebody's module.
fn is_build_output(dir: &Path) -> bool {
    dir.join(".rustc_info.json").is_file() || (dir.ends_with("target") && dir.join("CACHEDIR.TAG").is_file())
}

/// Copies everything below `from` except directories that `skip` names.
pub fn copy_tree(from: &Path, to: &Path, skip: &mut dyn FnMut(&Path) -> bool) -> Result<(), Fail> {
    std::fs::create_dir_all(to)?;
    for (name, kind) in kache_os::list(from)? {
        let (source, dest) = (from.join(kache_os::path(&name)), to.join(kache_os::path(&name)));
        match kind {
            FileKind::Dir if skip(&source) => {}
            FileKind::Dir => copy_tree(&source, &dest, skip)?,
            _ => copy_one(&source, &dest)?,
        }
    }
    Ok(())
}

/// Copies a file or a link. What is not there (any longer), and what is neither, is left out.
fn copy_one(from: &Path, to: &Path) -> Result<(), Fail> {
    let Ok(meta) = lstat(from) else { return Ok(()) };
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let copied = match meta.kind {
        FileKind::File => std::fs::copy(from, to).map(drop),
        FileKind::Symlink => kache_os::read_link(from).and_then(|target| kache_os::symlink(&target, to)),
        FileKind::Dir | FileKind::Other => Ok(()),
    };
    kache_os::at(from, copied).map_err(Fail::from)
}

/// The disk blocks of trees, each inode once.
#[derive(Default)]
pub struct Disk(HashMap<(u64, u64), u64>);

impl Disk {
    pub fn add(&mut self, dir: &Path) {
        for (name, kind) in kache_os::list(dir).unwrap_or_default() {
            let path = dir.join(kache_os::path(&name));
            if kind == FileKind::Dir {
                self.add(&path);
            }
            if let Ok(meta) = lstat(&path) {
                self.0.insert((meta.dev, meta.ino), meta.blocks * 512);
            }
        }
    }

    pub fn of(dirs: &[&Path]) -> Disk {
        let mut disk = Disk::default();
        dirs.iter().for_each(|dir| disk.add(dir));
        disk
    }

    pub fn bytes(&self) -> u64 {
        self.0.values().sum()
    }

    /// Bytes of files that `before` did not have.
    pub fn beyond(&self, before: &Disk) -> u64 {
        self.0.iter().filter(|(inode, _)| !before.0.contains_key(inode)).map(|(_, bytes)| bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: PathBuf, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn cargo() -> Command {
        Command::new("cargo")
    }

    const MANIFEST: &str = "[package]\nname = \"p\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";

    /// Guards: target directories and repositories stay behind; a module called target, links and hidden files come along.
    #[test]
    fn copies_sources_only() {
        let dir = tempfile::tempdir().unwrap();
        let p = dir.path().join("p");
        write(p.join("Cargo.toml"), MANIFEST);
        write(p.join("src/lib.rs"), "mod target;");
        write(p.join("src/target/mod.rs"), "");
        write(p.join(".cargo/config.toml"), "");
        write(p.join("target/CACHEDIR.TAG"), "");
        write(p.join("target/debug/x"), "");
        write(p.join("out/.rustc_info.json"), "");
        kache_os::symlink(Path::new("lib.rs"), &p.join("src/link.rs")).unwrap();
        let project = Project::find(&p, None, &cargo).unwrap();
        let to = p.join("copies");
        project.copy(&to.join("one"), &to).unwrap();
        for there in ["src/lib.rs", "src/target/mod.rs", ".cargo/config.toml", "src/link.rs"] {
            assert!(to.join("one").join(there).exists(), "{there}");
        }
        for left in ["target", "out", "copies"] {
            assert!(!to.join("one").join(left).exists(), "{left}");
        }
        assert!(lstat(&to.join("one/src/link.rs")).unwrap().kind == FileKind::Symlink);
    }

    /// Guards: the copy of a repository has new and tracked files, not ignored ones, and knows its commit.
    #[test]
    fn copies_what_git_lists() {
        let dir = tempfile::tempdir().unwrap();
        let p = dir.path().join("p");
        write(p.join("sub/Cargo.toml"), MANIFEST);
        write(p.join("sub/src/lib.rs"), "");
        write(p.join(".gitignore"), "ignored\nCargo.lock\n");
        let git = |args: &[&str]| assert!(git(&p).args(args).status().unwrap().success(), "{args:?}");
        git(&["init", "-q"]);
        git(&["add", "-A"]);
        git(&["-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-q", "-m", "m"]);
        write(p.join("sub/ignored"), "");
        write(p.join("sub/Cargo.lock"), "");
        write(p.join("new.txt"), "");
        let project = Project::find(&p.join("sub"), None, &cargo).unwrap();
        assert_eq!((project.dir.as_path(), project.workspace.as_path()), (Path::new("sub"), Path::new("sub")));
        let to = dir.path().join("copy");
        project.copy(&to, dir.path()).unwrap();
        for there in ["sub/src/lib.rs", "new.txt", "sub/Cargo.lock", ".git/HEAD"] {
            assert!(to.join(there).exists(), "{there}");
        }
        assert!(!to.join("sub/ignored").exists());
        let status = super::git(&to).args(["status", "--porcelain"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&status.stdout), "?? new.txt\n");
    }

    /// Guards: path dependencies beside the workspace are part of what is copied.
    #[test]
    fn path_dependencies_come_along() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        write(root.join("app/Cargo.toml"), &format!("{MANIFEST}[dependencies]\nq = {{ path = \"../libs/q\" }}\n"));
        write(root.join("app/src/lib.rs"), "");
        write(root.join("libs/q/Cargo.toml"), &MANIFEST.replace("\"p\"", "\"q\""));
        write(root.join("libs/q/src/lib.rs"), "");
        let project = Project::find(&root.join("app"), None, &cargo).unwrap();
        assert_eq!((project.base.as_path(), project.dir.as_path()), (root.as_path(), Path::new("app")));
        assert!(!root.join("app/Cargo.lock").exists());
    }

    #[test]
    fn no_project_is_said() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            matches!(Project::find(dir.path(), None, &cargo), Err(Fail::Failed(why)) if why.contains("no Cargo.toml"))
        );
        assert!(Project::find(&dir.path().join("gone"), None, &cargo).is_err());
    }

    /// Guards: a hard link counts once, and not at all when the other tree had it.
    #[test]
    fn shared_inodes_are_not_added() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("a/x"), &"x".repeat(9000));
        write(dir.path().join("b/y"), &"y".repeat(9000));
        std::fs::hard_link(dir.path().join("a/x"), dir.path().join("b/x")).unwrap();
        let (a, b) = (Disk::of(&[&dir.path().join("a")]), Disk::of(&[&dir.path().join("b")]));
        assert_eq!(b.beyond(&a) * 2, b.bytes());
    }
}
