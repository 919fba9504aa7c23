//! The report for a terminal.

use super::Report;
use crate::format::{Table, date, seconds, shorten};
use crate::view::{FAINT, STRONG};
use std::io::{self, Write};

pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    crate::stats::show(&report.summary, out)?;
    if let Some(build) = &report.last_build {
        writeln!(
            out,
            "\n{STRONG}Last build{STRONG:#}  {}, {}: {}",
            date(build.end_ms),
            seconds(build.seconds()),
            build.restored()
        )?;
        writeln!(out, "            {FAINT}{}{FAINT:#}", build.dir)?;
    }
    if !report.slowest_misses.is_empty() {
        writeln!(out, "\n{STRONG}Slowest misses{STRONG:#}")?;
        let mut table = Table::new(&[">compile", "unit", "when (UTC)", ""]);
        for (took, miss, note) in report.slowest_rows() {
            table.row([seconds(took), shorten(&miss.unit, 50), date(miss.time_ms), note]);
        }
        table.write(out)?;
    }
    writeln!(out, "\n{FAINT}{}{FAINT:#}", report.footer())
}
