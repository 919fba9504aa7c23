//! The report in Markdown, plain or as GitHub shows it in a job summary (folded parts).

use super::Report;
use crate::format::{date, seconds, shorten, size};
use std::io::{self, Write};

/// Text that Markdown takes literally, in one cell of a table.
fn literal(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            c if c.is_control() => safe.push(' '),
            c if c.is_ascii_punctuation() && !"-./,:()=+".contains(c) => safe.extend(['\\', c]),
            c => safe.push(c),
        }
    }
    safe
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>, out: &mut dyn Write) -> io::Result<()> {
    let names: Vec<_> = header.iter().map(|h| h.trim_start_matches('>')).collect();
    let rules: Vec<_> = header.iter().map(|h| if h.starts_with('>') { "--:" } else { ":--" }).collect();
    writeln!(out, "| {} |\n| {} |", names.join(" | "), rules.join(" | "))?;
    for row in rows {
        writeln!(out, "| {} |", row.iter().map(|c| literal(c)).collect::<Vec<_>>().join(" | "))?;
    }
    writeln!(out)
}

pub fn write(report: &Report, github: bool, out: &mut dyn Write) -> io::Result<()> {
    let (open, close) = if github { ("<details><summary>", "</details>\n") } else { ("### ", "") };
    let part = |title: &str, out: &mut dyn Write| match github {
        true => writeln!(out, "{open}{title}</summary>\n"),
        false => writeln!(out, "{open}{title}\n"),
    };
    let s = &report.summary;
    writeln!(out, "## kache\n")?;
    if s.is_empty() {
        writeln!(out, "Nothing was built through kache in this time ({}).\n", literal(&report.span))?;
    } else {
        writeln!(
            out,
            "Restored **{}**. **{}** of compiling saved, {} spent on misses.\n",
            s.ratios(),
            seconds(s.tool_seconds_saved),
            seconds(s.tool_seconds_spent)
        )?;
        let header = ["action", ">hit", ">dup", ">miss", ">passthrough", ">skipped", ">error"];
        table(&header, s.outcomes().into_iter().map(Vec::from), out)?;
    }
    let figures = [
        ("Hard-linked", size(s.restored.linked_bytes)),
        ("Cloned (reflink)", size(s.restored.cloned_bytes)),
        ("Copied", size(s.restored.copied_bytes)),
        ("Stored", format!("{} in {} entries", size(s.store.blob_bytes + s.store.record_bytes), s.store.entries)),
        ("Saved by storing equal outputs once", size(s.store.deduplicated_bytes)),
        ("Shared with build trees", size(s.store.linked_bytes)),
    ];
    table(&["bytes", ">"], figures.into_iter().map(|(name, value)| vec![name.into(), value]), out)?;
    if let Some(b) = &report.last_build {
        let (when, took, dir) = (date(b.end_ms), seconds(b.seconds()), literal(&b.dir));
        writeln!(out, "Last build ({when} UTC): {}, in {took}, {dir}.\n", b.restored())?;
    }
    if !report.slowest_misses.is_empty() {
        part("Slowest misses", out)?;
        let rows = report.slowest_rows().map(|(took, miss, note)| vec![seconds(took), miss.unit.clone(), note]);
        table(&[">compile", "unit", ""], rows, out)?;
        writeln!(out, "{close}")?;
    }
    if !s.reasons.is_empty() {
        part("Not cached", out)?;
        let rows = s
            .reasons
            .iter()
            .map(|r| vec![r.count.to_string(), r.what().into(), r.sentence.clone(), shorten(&r.example, 80)]);
        table(&[">n", "", "why", "for example"], rows, out)?;
        writeln!(out, "{close}")?;
    }
    writeln!(out, "<sub>{}</sub>", report.footer())
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_stays_text() {
        assert_eq!(super::literal("a|b <i> `x`\n[l](u) -C opt=3"), "a\\|b &lt;i\\> \\`x\\` \\[l\\](u) -C opt=3");
    }
}
