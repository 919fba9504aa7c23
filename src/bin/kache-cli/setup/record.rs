//! What `kache init` changed: for each file what it was (a backup, named by its digest) and what it became, so that it can
//! be put back as it was as long as nobody else changed it.
//!
//! A record that is damaged or gone is an empty one: then only what bears our marks is taken back.

use crate::fail::Fail;
use crate::file::{LIMIT, read, write_whole};
use kache_key::Digest;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    CargoConfig,
    StartFile,
    Completions,
    Manual,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Change {
    pub what: What,
    pub path: PathBuf,
    /// Digest of the file before the first change; none where it was not there.
    pub before: Option<String>,
    /// Digest of the file after the last change; none when someone else changed it between two of ours.
    pub after: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Written {
    version: u32,
    files: Vec<Change>,
    /// Directories that were made, for removal when they are empty.
    made: Vec<PathBuf>,
}

pub struct Record {
    dir: PathBuf,
    written: Written,
}

fn hex(bytes: &[u8]) -> String {
    Digest::of(bytes).hex()
}

impl Record {
    /// `dir` is kache's own data directory.
    pub fn load(dir: &Path) -> Record {
        let bytes = kache_os::read_bounded(&dir.join("setup.json"), LIMIT).unwrap_or_default();
        let written: Written = serde_json::from_slice(&bytes).unwrap_or_default();
        let written =
            if written.version == VERSION { written } else { Written { version: VERSION, ..Written::default() } };
        Record { dir: dir.to_path_buf(), written }
    }

    pub fn changes(&self) -> &[Change] {
        &self.written.files
    }

    pub fn change(&self, path: &Path) -> Option<&Change> {
        self.written.files.iter().find(|c| c.path == path)
    }

    /// The file is as we left it.
    pub fn is_as_left(&self, path: &Path, bytes: &[u8]) -> bool {
        self.change(path).is_some_and(|c| c.after.as_deref() == Some(&hex(bytes)))
    }

    pub fn backups(&self) -> PathBuf {
        self.dir.join("backup")
    }

    fn backup_file(&self, path: &Path, digest: &str) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let start = digest.get(..16).unwrap_or(digest);
        self.backups().join(format!("{}-{start}", name.trim_start_matches('.')))
    }

    /// The bytes a changed file had before; `None` when the backup is gone or no longer what it was.
    pub fn backup(&self, change: &Change) -> Option<Vec<u8>> {
        let digest = change.before.as_deref()?;
        read(&self.backup_file(&change.path, digest)).ok().flatten().filter(|bytes| hex(bytes) == digest)
    }

    /// Replaces a file, after its backup is written and the record names both.
    pub fn change_file(&mut self, what: What, path: &Path, before: Option<&[u8]>, after: &[u8]) -> Result<(), Fail> {
        match self.written.files.iter_mut().find(|c| c.path == path) {
            Some(change) => {
                let now = before.map(hex);
                // As we left it, or as it was before us: somebody put it back, or we were stopped.
                let known = now == change.before || change.after.is_some() && now == change.after;
                change.after = Some(hex(after)).filter(|_| known);
            }
            None => {
                if let Some(bytes) = before {
                    self.write(&self.backup_file(path, &hex(bytes)), bytes)?;
                }
                let (before, after) = (before.map(hex), Some(hex(after)));
                self.written.files.push(Change { what, path: path.to_path_buf(), before, after });
            }
        }
        self.make_parents(path)?;
        self.save()?;
        write_whole(path, after)
    }

    /// Puts a file back (or removes it), and forgets it.
    pub fn restore_file(&mut self, path: &Path, bytes: Option<&[u8]>) -> Result<(), Fail> {
        match bytes {
            Some(bytes) => write_whole(path, bytes)?,
            None => kache_os::at(path, std::fs::remove_file(path))?,
        }
        self.written.files.retain(|c| c.path != path);
        self.save()
    }

    pub fn forget(&mut self, gone: impl Fn(&Path) -> bool) {
        self.written.files.retain(|c| !gone(&c.path));
    }

    pub fn make_link(&mut self, path: &Path, target: &Path) -> Result<(), Fail> {
        self.make_parents(path)?;
        self.save()?;
        Ok(crate::shims::make(path, target)?)
    }

    /// When nothing is left to put back: removes backups, record and the directories that were made, where empty.
    pub fn finish(self) -> Result<(), Fail> {
        if !self.written.files.is_empty() {
            return self.save();
        }
        let entries = std::fs::read_dir(self.backups()).into_iter().flatten().flatten();
        for file in entries.map(|e| e.path()).chain([self.dir.join("setup.json")]) {
            let _ = std::fs::remove_file(file);
        }
        let mut dirs = vec![self.backups(), self.dir.join(super::SHIMS), self.dir.clone()];
        dirs.extend(self.written.made);
        dirs.sort_by_key(|d| std::cmp::Reverse(d.components().count()));
        for dir in dirs {
            let _ = std::fs::remove_dir(dir);
        }
        Ok(())
    }

    fn make_parents(&mut self, path: &Path) -> Result<(), Fail> {
        let Some(parent) = path.parent() else { return Ok(()) };
        let missing: Vec<PathBuf> =
            parent.ancestors().take_while(|d| kache_os::lstat(d).is_err()).map(Path::to_path_buf).collect();
        kache_os::at(parent, std::fs::create_dir_all(parent))?;
        self.written.made.extend(missing);
        Ok(())
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Fail> {
        self.make_parents(path)?;
        write_whole(path, bytes)
    }

    fn save(&self) -> Result<(), Fail> {
        if self.dir.is_dir() {
            write_whole(&self.dir.join("setup.json"), &serde_json::to_vec_pretty(&self.written)?)?;
        }
        Ok(())
    }
}
