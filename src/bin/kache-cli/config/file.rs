//! A file with settings, and changes to it. What the file says otherwise stays as it is; only values that the table of
//! settings takes are written.

use crate::Context;
use crate::fail::Fail;
use crate::file::{read, write_whole};
use crate::toml_text::{Place, value_in, with_value};
use kache_config::{Kind, PROJECT_FILE, SETTINGS, Setting, Settings, Source, text_of};
use std::path::PathBuf;
use toml::Value;

pub struct SettingsFile {
    pub path: PathBuf,
    pub source: Source,
}

/// A setting's new value in a file, or that it has none there.
pub struct Edit {
    setting: &'static Setting,
    value: Option<Value>,
}

impl Edit {
    /// `Err` says what would be a value.
    pub fn to(setting: &'static Setting, value: &str) -> Result<Edit, String> {
        let mut scratch = Settings::defaults(&|_| None);
        setting.set(&mut scratch, value)?;
        // `yes` is written as `true`, but `1024MiB` as it was said.
        let plain = (setting.show)(&scratch);
        let value = match setting.kind {
            Kind::Flag => Value::Boolean(plain == "true"),
            Kind::Number => plain.parse().map_or(Value::String(plain), Value::Integer),
            Kind::List => plain.split(',').filter(|v| !v.is_empty()).map(Value::from).collect::<Vec<_>>().into(),
            Kind::Choice(_) => Value::String(plain),
            Kind::Size | Kind::Place | Kind::Program | Kind::Text => value.into(),
        };
        Ok(Edit { setting, value: Some(value) })
    }

    pub fn away(setting: &'static Setting) -> Edit {
        Edit { setting, value: None }
    }

    /// The value as it stands in the file.
    pub fn words(&self) -> String {
        self.value.as_ref().map_or_else(|| "not set".into(), Value::to_string)
    }
}

impl SettingsFile {
    /// The user's, or the project's: the nearest upward, else one at the top of the repository.
    pub fn of(context: &Context, project: bool) -> Result<SettingsFile, Fail> {
        if project {
            let top =
                || context.cwd.ancestors().find(|d| d.join(".git").exists()).unwrap_or(&context.cwd).join(PROJECT_FILE);
            let path = kache_config::project_file(&[&context.cwd]).unwrap_or_else(top);
            return Ok(SettingsFile { path, source: Source::Project });
        }
        let file = kache_config::user_file(&|name| context.env.get(name).cloned()).map_err(Fail::Failed)?;
        let nowhere =
            || Fail::Failed("there is no place for your settings: set HOME, or KACHE_CONFIG to a file".into());
        Ok(SettingsFile { path: file.ok_or_else(nowhere)?, source: Source::User })
    }

    /// What the file says of each setting of the table, values or not.
    pub fn values(&self) -> Result<Vec<Option<String>>, Fail> {
        let text = self.text()?;
        let of = |setting: &Setting| {
            let (table, key) = setting.section_and_key();
            let value = value_in(&text, Place { table, key })?;
            Ok(value.map(|v| text_of(&v).unwrap_or_else(|_| v.to_string())))
        };
        let by_hand = |why: String| self.failed(&format!("{why}\nCorrect the file by hand"));
        SETTINGS.iter().map(of).collect::<Result<_, String>>().map_err(by_hand)
    }

    fn text(&self) -> Result<String, Fail> {
        let bytes = read(&self.path)?.unwrap_or_default();
        String::from_utf8(bytes).map_err(|_| self.failed("is not UTF-8: correct it by hand"))
    }

    /// Writes the edits into the file as it is now; `false` when they change nothing.
    pub fn save(&self, edits: &[Edit]) -> Result<bool, Fail> {
        let before = self.text()?;
        let mut after = before.clone();
        for edit in edits {
            let (table, key) = edit.setting.section_and_key();
            after = with_value(&after, Place { table, key }, edit.value.as_ref())
                .map_err(|why| self.failed(&format!("{why}\nNothing was changed; correct the file by hand")))?;
        }
        if after == before {
            return Ok(false);
        }
        // Root could write it all the same; but someone said that it is not to be changed.
        if kache_os::stat(&self.path).is_ok_and(|m| m.mode & 0o222 == 0) {
            return Err(self.failed("is read-only: nothing was changed"));
        }
        if let Some(dir) = self.path.parent() {
            kache_os::at(dir, std::fs::create_dir_all(dir))?;
        }
        write_whole(&self.path, after.as_bytes())?;
        Ok(true)
    }

    fn failed(&self, why: &str) -> Fail {
        Fail::Failed(format!("{}: {why}", self.path.display()))
    }
}
