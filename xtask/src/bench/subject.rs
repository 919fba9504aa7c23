//! What is built: a published crate's own source, or a Cargo project on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::system::{Done, about, cargo, output, told};

pub struct Subject {
    pub name: String,
    pub dir: PathBuf,
}

/// Finds or fetches the subject, with everything it needs to be built offline.
pub fn fetch(subject: &str, root: &Path) -> Done<Subject> {
    let given = Path::new(subject);
    let dir = if given.join("Cargo.toml").is_file() {
        fs::canonicalize(given).map_err(|e| about(given.display(), e))?
    } else {
        published(subject, root)?
    };
    fetch_dependencies(&dir, true)?;
    let name = dir.file_name().map_or_else(|| subject.to_owned(), |n| n.to_string_lossy().into_owned());
    Ok(Subject { name, dir })
}

pub fn fetch_dependencies(dir: &Path, locked: bool) -> Done {
    let locked: &[&str] = if locked { &["--locked"] } else { &[] };
    told(Command::new(cargo()).args(["fetch", "--quiet"]).args(locked).current_dir(dir))
}

/// Unpacks the crate from cargo's registry cache, where `cargo info` puts it.
fn published(name: &str, root: &Path) -> Done<PathBuf> {
    let info =
        output(Command::new(cargo()).args(["info", "--quiet", "--registry", "crates-io", name]).current_dir("/"))?;
    let version = info.lines().find_map(|l| l.strip_prefix("version: ")).ok_or("cargo info names no version")?;
    // A newer version may be named in brackets: `version: 1.0.0 (latest 1.1.0)`.
    let version = version.split(' ').next().unwrap_or(version);
    let full = format!("{name}-{version}");
    let dir = root.join("subjects");
    if dir.join(&full).join("Cargo.toml").is_file() {
        return Ok(dir.join(&full));
    }
    let file = registry_file(&format!("{full}.crate"))?;
    fs::create_dir_all(&dir).map_err(|e| about(dir.display(), e))?;
    told(Command::new("tar").arg("xzf").arg(&file).arg("-C").arg(&dir))?;
    Ok(dir.join(full))
}

fn registry_file(name: &str) -> Done<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let cache = home.ok_or("neither CARGO_HOME nor HOME is set")?.join("registry/cache");
    let registries = fs::read_dir(&cache).map_err(|e| about(cache.display(), e))?;
    let found = registries.flatten().map(|e| e.path().join(name)).find(|p| p.is_file());
    found.ok_or_else(|| format!("{name} is not in {}", cache.display()))
}
