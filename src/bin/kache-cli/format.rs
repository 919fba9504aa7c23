//! Durations, sizes, counts and tables, as people write and read them. Knows nothing about caches.

use crate::style::{FAINT, PLAIN};
use anstyle::Style;
use std::io::{self, Write};
use std::time::Duration;

/// `1.5 GiB`
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.*} {}", if value < 99.95 { 1 } else { 0 }, UNITS[unit])
}

/// `85 ms`, `2.31 s`, `15.8 s`, `3 min 20 s`, `2 h 5 min`
pub fn seconds(s: f64) -> String {
    match s {
        s if s < 0.0995 => format!("{:.0} ms", s * 1000.0),
        s if s < 9.995 => format!("{s:.2} s"),
        s if s < 99.95 => format!("{s:.1} s"),
        s => {
            let whole = s.round() as u64;
            match whole / 3600 {
                0 => format!("{} min {} s", whole / 60, whole % 60),
                hours => format!("{hours} h {} min", whole % 3600 / 60),
            }
        }
    }
}

/// How long ago, roughly.
pub fn ago(ms: u64) -> String {
    match ms / 1000 {
        s if s < 60 => format!("{s} s ago"),
        s if s < 3600 => format!("{} min ago", s / 60),
        s if s < 48 * 3600 => format!("{} h ago", s / 3600),
        s => format!("{} days ago", s / 86_400),
    }
}

/// `7 days`, `36 hours`, `90 seconds`
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match [(86_400, "day"), (3600, "hour"), (60, "minute")]
        .into_iter()
        .find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit))
    {
        Some((unit, name)) => count(seconds / unit, name),
        None => count(seconds, "second"),
    }
}

/// `2026-11-21 07:18` in UTC, of milliseconds since the epoch.
pub fn date(ms: u64) -> String {
    let (days, minutes) = (ms / 86_400_000, ms / 60_000 % 1440);
    // Days since 0000-03-01, in eras of 400 years: the calendar repeats after them, and leap days come last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minutes / 60, minutes % 60)
}

pub fn percent(part: f64, whole: f64) -> String {
    if whole <= 0.0 { "–".into() } else { format!("{:.1} %", 100.0 * part / whole) }
}

/// `1 unit`, `3 units`
pub fn count(n: u64, thing: &str) -> String {
    let plural = match thing.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if thing.ends_with('s') => format!("{thing}es"),
        _ => format!("{thing}s"),
    };
    format!("{n} {}", if n == 1 { thing } else { &plural })
}

/// Text as one line, and none that commands the terminal; files and variables hold anything.
pub fn printable(text: &str) -> String {
    if text.contains(char::is_control) { text.escape_debug().to_string() } else { text.to_string() }
}

/// At most `width` characters, the middle left out: both ends of a path say something.
pub fn shorten(text: &str, width: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= width {
        return text.to_string();
    }
    let head = (width - 1) / 2;
    let tail = chars.len() - (width - 1 - head);
    chars[..head].iter().chain(&['…']).chain(&chars[tail..]).collect()
}

/// Reads `7d`, `24h`, `30m`, `45s`, `2w`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || String::from("expected a duration such as 7d, 24h or 30m");
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..at].parse().map_err(|_| wrong())?;
    let unit = match &text[at..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(wrong)
}

/// A span that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    All,
    Last(Duration),
}

impl Since {
    pub fn parse(text: &str) -> Result<Since, String> {
        match text {
            "all" => Ok(Since::All),
            _ => parse_duration(text).map(Since::Last).map_err(|e| format!("{e}, or all")),
        }
    }

    /// `the last 7 days`
    pub fn words(self) -> String {
        match self {
            Since::All => "all that is known".into(),
            Since::Last(time) => format!("the last {}", span(time)),
        }
    }

    /// Where it begins, in milliseconds since the epoch.
    pub fn start(self, now_ms: u64) -> u64 {
        match self {
            Since::All => 0,
            Since::Last(span) => now_ms.saturating_sub(span.as_millis().try_into().unwrap_or(u64::MAX)),
        }
    }
}

/// A table: columns as wide as their widest cell, numbers to the right.
pub struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<(String, Style)>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

impl Table {
    /// `header` gives the columns: a name beginning with `>` is a column of numbers.
    pub fn new(header: &[&str]) -> Table {
        let columns = header.iter().map(|h| if h.starts_with('>') { Align::Right } else { Align::Left }).collect();
        let names = header.iter().map(|h| (h.trim_start_matches('>').to_string(), FAINT)).collect();
        Table { columns, rows: vec![names] }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.styled(cells.map(|c| (c, PLAIN)).to_vec());
    }

    pub fn styled(&mut self, cells: Vec<(String, Style)>) {
        self.rows.push(cells);
    }

    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let chars = |s: &str| s.chars().count();
        let width = |i: usize| self.rows.iter().filter_map(|r| r.get(i)).map(|(c, _)| chars(c)).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for row in &self.rows {
            let last = row.iter().rposition(|(c, _)| !c.is_empty()).map_or(0, |i| i + 1);
            let mut line = String::new();
            for (i, (cell, style)) in row[..last].iter().enumerate() {
                let pad = " ".repeat(widths[i] - chars(cell));
                let gap = if i == 0 { "" } else { "  " };
                line += &match self.columns[i] {
                    Align::Right => format!("{gap}{pad}{style}{cell}{style:#}"),
                    Align::Left if i + 1 == last => format!("{gap}{style}{cell}{style:#}"),
                    Align::Left => format!("{gap}{style}{cell}{style:#}{pad}"),
                };
            }
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(parse_duration("30m"), Ok(Duration::from_secs(1800)));
        for wrong in ["", "7", "d", "7x", "-1d", "99999999999999999999d", "1.5h", "7 d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Since::parse("all"), Ok(Since::All));
        assert_eq!(Since::Last(Duration::from_secs(1)).start(5_000), 4_000);
        assert_eq!(Since::parse("99999999999d").unwrap().start(5_000), 0);
    }

    #[test]
    fn quantities_are_written() {
        let sizes = [0, 1023, 1024, 1536 << 10, 1 << 30, 1023 << 20].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "1.0 GiB", "1.0 GiB"]);
        let times = [0.0, 0.0994, 0.25, 12.34, 125.0, 7500.0].map(seconds);
        assert_eq!(times, ["0 ms", "99 ms", "0.25 s", "12.3 s", "2 min 5 s", "2 h 5 min"]);
        assert_eq!([count(1, "entry"), count(2, "entry"), count(0, "miss")], ["1 entry", "2 entries", "0 misses"]);
        assert_eq!([percent(1.0, 3.0), percent(0.0, 0.0)], ["33.3 %", "–"]);
    }

    #[test]
    fn times_are_written() {
        let dates = [0, 951_782_400_000, 951_868_799_999, 1_763_709_480_000, 4_107_542_400_000].map(date);
        let known =
            ["1970-01-01 00:00", "2000-02-29 00:00", "2000-02-29 23:59", "2025-11-21 07:18", "2100-03-01 00:00"];
        assert_eq!(dates, known);
        let spans = [7 * 86_400, 36 * 3600, 90, 60, 0].map(|s| span(Duration::from_secs(s)));
        assert_eq!(spans, ["7 days", "36 hours", "90 seconds", "1 minute", "0 seconds"]);
    }

    #[test]
    fn long_texts_keep_both_ends() {
        assert_eq!(shorten("/very/long/path.rs", 9), "/ver…h.rs");
        assert_eq!(shorten("äöü", 3), "äöü");
    }

    /// Guards: styles do not count for widths, and no line ends in spaces.
    #[test]
    fn tables_align() {
        let mut table = Table::new(&["name", ">n", "why"]);
        table.row(["a".into(), "10".into(), "x".into()]);
        table.styled(vec![("long".into(), FAINT), ("5".into(), PLAIN), (String::new(), PLAIN)]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let plain = anstream::adapter::strip_bytes(&out).into_vec();
        assert_eq!(String::from_utf8(plain).unwrap(), "name   n  why\na     10  x\nlong   5\n");
    }
}
