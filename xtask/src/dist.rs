//! What is given to users: the tree of an installation, an archive of it, and a Debian package.
//!
//! Knows where a system keeps things; what is in them comes from the programs themselves and from `Cargo.toml`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::system::{Done, about, cargo, find_on_path, output, release_build, root, told};

/// Where each shell's completions lie; the same places as in the Debian package's assets in `Cargo.toml`.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/kache"),
    ("zsh", "share/zsh/vendor-completions/_kache"),
    ("fish", "share/fish/vendor_completions.d/kache.fish"),
];

/// All of it lies in `target/dist`: `tree` is that of an installation (`bin`, `share`), which the Debian package's assets name.
pub fn run() -> Done {
    let dist = root().join("target/dist");
    let tree = dist.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(|e| about(tree.display(), e))?;
    }
    let kache = release_build()?;
    for program in [&kache, &kache.with_file_name("kache-cli")] {
        let place = tree.join("bin").join(program.file_name().unwrap_or_default());
        copy(program, &place)?;
        told(Command::new("strip").arg(place))?;
    }
    let pages = tree.join("share/man/man1");
    told(Command::new(&kache).arg("man").arg(&pages))?;
    write(&pages.join("kache-cli.1"), ".so man1/kache.1\n")?;
    for (shell, place) in COMPLETIONS {
        write(&tree.join(place), &output(Command::new(&kache).args(["completions", shell]))?)?;
    }
    let doc = tree.join("share/doc/kache");
    for file in ["LICENSE", "README.md"] {
        copy(&root().join(file), &doc.join(file))?;
    }
    copy(&root().join("CHANGELOG.md"), &doc.join("changelog"))?;
    let mut compressed: Vec<PathBuf> =
        fs::read_dir(&pages).map_err(|e| about(pages.display(), e))?.flatten().map(|page| page.path()).collect();
    compressed.sort();
    compressed.push(doc.join("changelog"));
    output(Command::new("gzip").arg("-9n").args(compressed))?;
    archive(&dist)?;
    debian(&dist)
}

/// `kache-VERSION-TARGET.tar.gz` and its digest. Two runs on one commit give the same bytes.
fn archive(dist: &Path) -> Done {
    let told_of = output(Command::new("rustc").arg("-vV"))?;
    let host = told_of.lines().find_map(|l| l.strip_prefix("host: ")).ok_or("rustc -vV tells no host")?;
    let name = format!("kache-{}-{host}", env!("CARGO_PKG_VERSION"));
    let file = format!("{name}.tar.gz");
    let packed = [
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mode=u=rwX,go=rX",
        "--use-compress-program=gzip -9n",
    ];
    let mut tar = Command::new("tar");
    tar.args(packed).arg(format!("--mtime=@{}", commit_time("%ct")?)).arg(format!("--transform=s,^tree,{name},"));
    told(tar.arg("-cf").arg(&file).arg("tree").current_dir(dist))?;
    let digest = output(Command::new("sha256sum").arg(&file).current_dir(dist))?;
    write(&dist.join(format!("{file}.sha256")), &digest)
}

fn commit_time(format: &str) -> Done<String> {
    let line = format!("--format={format}");
    Ok(output(Command::new("git").args(["log", "-1", &line]).current_dir(root()))?.trim().to_owned())
}

fn debian(dist: &Path) -> Done {
    if find_on_path("cargo-deb").is_none() {
        eprintln!("skipped: the Debian package: cargo-deb is not installed");
        return Ok(());
    }
    let metadata =
        output(Command::new(cargo()).args(["metadata", "--no-deps", "--format-version=1"]).current_dir(root()))?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|e| about("cargo metadata", e))?;
    let package = metadata["packages"].as_array().into_iter().flatten().find(|p| p["name"] == "kache");
    let deb = &package.ok_or("cargo metadata names no kache")?["metadata"]["deb"];
    let maintainer = deb["maintainer"].as_str().ok_or("Cargo.toml names no maintainer")?;
    let (version, date) = (env!("CARGO_PKG_VERSION"), commit_time("%cD")?);
    let entry = format!(
        "kache ({version}-1) unstable; urgency=medium\n\n  * /usr/share/doc/kache/changelog.gz tells what is new.\n\n \
         -- {maintainer}  {date}\n"
    );
    write(&dist.join("changelog.Debian"), &entry)?;
    told(
        Command::new(cargo())
            .args(["deb", "--no-build", "--package", "kache", "--output"])
            .arg(dist)
            .current_dir(root()),
    )
}

fn write(path: &Path, text: &str) -> Done {
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir).and_then(|()| fs::write(path, text)).map_err(|e| about(path.display(), e))
}

fn copy(from: &Path, to: &Path) -> Done {
    let dir = to.parent().unwrap_or(to);
    fs::create_dir_all(dir).and_then(|()| fs::copy(from, to)).map(drop).map_err(|e| about(from.display(), e))
}
