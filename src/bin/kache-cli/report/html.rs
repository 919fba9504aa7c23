//! The report as one page that needs nothing else: styles, drawings (SVG) and its few lines of script stand in it.

use super::{Build, OUTCOMES, Report, counts};
use crate::format::{date, percent, seconds, shorten, size};
use crate::history::outcome_name;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Wider than this a drawing has more detail than a screen.
const WIDTH: f64 = 1000.0;

/// About as wide as a letter is.
const LETTER: f64 = 6.8;

/// A build of more invocations is drawn without the shortest.
const DRAWN: usize = 3000;

const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2128;--faint:#667080;--line:#d9dee5;--card:#f5f7f9;
--hit:#2a9d5c;--dup:#55ad7d;--miss:#c9741f;--passthrough:#5b7fb5;--skipped:#8792a0;--error:#c93c37;--bytes:#7a6fb8}
@media(prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e3e8ee;--faint:#8d98a6;--line:#2d353f;--card:#1c2229}}
body{margin:0 auto;padding:24px;max-width:1080px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif}
h1{font-size:24px;margin:0}h2{font-size:17px;margin:36px 0 10px}p{margin:4px 0}
.faint,footer,th{color:var(--faint);font-weight:normal}footer{margin-top:40px;border-top:1px solid var(--line);padding-top:10px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:12px;margin-top:20px}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px}
.card b{display:block;font-size:25px;line-height:1.3}.card span{color:var(--faint);font-size:13px}
svg{display:block;width:100%;height:auto}svg.chart{min-width:720px}svg text{fill:var(--faint);font-size:11px}
.hit{fill:var(--hit)}.dup{fill:var(--dup)}.miss{fill:var(--miss)}.passthrough{fill:var(--passthrough)}
.skipped{fill:var(--skipped)}.error{fill:var(--error)}.bytes{fill:var(--bytes)}.grid{stroke:var(--line);stroke-width:1}
.legend button{all:unset;cursor:pointer;margin-right:16px;font-size:13px}.legend button:focus-visible{outline:1px solid}
.legend svg{display:inline;width:10px;height:10px;margin-right:5px}.legend .off{opacity:.35}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;min-width:560px}
td,th{text-align:left;padding:4px 10px 4px 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td{overflow-wrap:anywhere}
";

/// A click on an outcome hides or shows what ended so.
const SCRIPT: &str = "\
for(const b of document.querySelectorAll('.legend button'))b.onclick=()=>{const off=b.classList.toggle('off');
b.setAttribute('aria-pressed',String(!off));
for(const r of document.querySelectorAll('svg.chart .'+b.dataset.outcome))r.style.display=off?'none':''}
";

fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let s = &report.summary;
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>kache report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>kache report</h1>\n<p class=\"faint\">{}, until {} UTC · {}</p>\n",
        safe(&report.span),
        date(report.generated_ms),
        safe(&s.store.dir)
    )?;
    cards(report, out)?;
    if s.is_empty() {
        writeln!(out, "<p>Nothing was built through kache in this time.</p>")?;
    } else {
        legend(out)?;
        // The first one counts whole, also what was before the span that is reported.
        let title = if report.step_hours == 24 { "Invocations by day" } else { "Invocations by hour" };
        section(title, &course(report), out)?;
    }
    if let Some(build) = &report.last_build {
        let what = format!("Last build: {}, {}", seconds(build.seconds()), build.restored());
        section(&what, &build_timeline(build), out)?;
    }
    if !s.is_empty() {
        section("By action", &actions(report), out)?;
        section("Bytes by restore method", &methods(report), out)?;
    }
    if !report.slowest_misses.is_empty() {
        section("Slowest misses", &slowest(report), out)?;
    }
    if !s.reasons.is_empty() {
        let rows = s.reasons.iter().map(|r| {
            let cells = [r.what(), &r.sentence, &shorten(&r.example, 160)].map(|c| format!("<td>{}</td>", safe(c)));
            format!("<tr><td class=\"n\">{}</td>{}</tr>\n", r.count, cells.concat())
        });
        let head = "<tr><th class=\"n\">n</th><th></th><th>why</th><th>for example</th></tr>";
        let table = format!("<div class=\"scroll\"><table>\n{head}\n{}</table></div>", rows.collect::<String>());
        section("Not cached", &table, out)?;
    }
    writeln!(out, "<footer>{}</footer>\n<script>\n{SCRIPT}</script>\n</body>\n</html>", safe(&report.footer()))
}

fn section(title: &str, body: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<h2>{}</h2>\n{body}", safe(title))
}

fn cards(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let s = &report.summary;
    let by_time = s.hit_ratio_by_time.map_or(String::new(), |r| format!("; {} by compile time", percent(r, 1.0)));
    let store = format!("of at most {} in {} entries", size(s.store.max_bytes), s.store.entries);
    let cards = [
        (
            s.hit_ratio.map_or("–".into(), |r| percent(r, 1.0)),
            format!("restored: {} of {} lookups{by_time}", s.total.restored(), s.total.cacheable()),
        ),
        (
            seconds(s.tool_seconds_saved),
            format!("of compiling saved; {} spent on misses", seconds(s.tool_seconds_spent)),
        ),
        (size(s.store.blob_bytes + s.store.record_bytes), store),
        (
            size(s.store.deduplicated_bytes),
            format!("saved by storing equal outputs once; {} shared with build trees", size(s.store.linked_bytes)),
        ),
    ];
    writeln!(out, "<div class=\"cards\">")?;
    for (figure, what) in cards {
        writeln!(out, "<div class=\"card\"><b>{}</b><span>{}</span></div>", safe(&figure), safe(&what))?;
    }
    writeln!(out, "</div>")
}

fn legend(out: &mut dyn Write) -> io::Result<()> {
    write!(out, "<p class=\"legend\" style=\"margin-top:28px\">")?;
    for name in OUTCOMES.map(outcome_name) {
        write!(
            out,
            "<button type=\"button\" data-outcome=\"{name}\" aria-pressed=\"true\"><svg viewBox=\"0 0 10 10\" \
             aria-hidden=\"true\"><rect class=\"{name}\" width=\"10\" height=\"10\" rx=\"2\"/></svg>{name}</button>"
        )?;
    }
    writeln!(out, "</p>")
}

fn drawing(height: f64, label: &str, body: &str) -> String {
    format!(
        "<div class=\"scroll\"><svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">\n\
         {body}</svg></div>",
        safe(label)
    )
}

/// A rectangle that says what it is when pointed at.
fn bar(class: &str, [x, y, w, h]: [f64; 4], title: &str) -> String {
    format!(
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"1\">\
         <title>{}</title></rect>\n",
        safe(title)
    )
}

fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", safe(words))
}

/// Outcomes in the course of time, stacked.
fn course(report: &Report) -> String {
    const HEIGHT: f64 = 170.0;
    let step = report.step_hours * 3_600_000;
    let (Some(first), Some(last)) = (report.course.first(), report.course.last()) else { return String::new() };
    let steps = ((last.begin_ms - first.begin_ms) / step + 1) as f64;
    let most = report.course.iter().map(|s| s.tally.total()).max().unwrap_or(1).max(1) as f64;
    let wide = ((WIDTH - 50.0) / steps).min(72.0);
    let mut body = String::new();
    for part in [0.0, 0.5, 1.0] {
        let y = 10.0 + HEIGHT * (1.0 - part);
        let _ = writeln!(body, "<line class=\"grid\" x1=\"50\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
        body += &text(44.0, y + 4.0, "end", &format!("{:.0}", most * part));
    }
    let when = |ms: u64| if report.step_hours == 24 { date(ms)[..10].to_string() } else { date(ms) };
    for s in &report.course {
        let x = 50.0 + ((s.begin_ms - first.begin_ms) / step) as f64 * wide;
        let mut y = 10.0 + HEIGHT;
        for (outcome, n) in OUTCOMES.into_iter().zip(counts(&s.tally)).filter(|(_, n)| *n > 0) {
            let high = HEIGHT * n as f64 / most;
            y -= high;
            let name = outcome_name(outcome);
            let place = [x + wide * 0.08, y, wide * 0.84, high];
            body += &bar(name, place, &format!("{}: {n} {name}", when(s.begin_ms)));
        }
    }
    body += &text(50.0, HEIGHT + 26.0, "start", &when(first.begin_ms));
    if steps > 1.0 {
        body += &text(50.0 + (steps * wide).max(240.0), HEIGHT + 26.0, "end", &when(last.begin_ms));
    }
    drawing(HEIGHT + 32.0, "Invocations in the course of time, by outcome", &body)
}

/// A unit without the digits that cargo adds to the crate's name.
fn bare(unit: &str) -> &str {
    let named = |(name, digits): &(&str, &str)| {
        !name.is_empty() && digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit())
    };
    unit.rsplit_once('-').filter(named).map_or(unit, |(name, _)| name)
}

/// At most so many letters; where there is little room, the beginning of a name says most.
fn cut(text: &str, letters: usize) -> String {
    match text.char_indices().nth(letters) {
        None => text.to_string(),
        Some(_) => text.chars().take(letters - 1).chain(['…']).collect(),
    }
}

/// Each invocation of the build where and when it ran.
fn build_timeline(build: &Build) -> String {
    const LANE: f64 = 18.0;
    let whole = (build.end_ms as f64 - build.begin_ms as f64).max(1.0);
    let scale = WIDTH / whole;
    let mut units: Vec<_> = build.units.iter().collect();
    units.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    let left_out = units.len().saturating_sub(DRAWN);
    units.truncate(DRAWN);
    let bottom = build.lanes as f64 * LANE;
    let mut body = String::new();
    for part in 0..=4 {
        let x = WIDTH * f64::from(part) / 4.0;
        let _ = writeln!(body, "<line class=\"grid\" x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"{bottom}\"/>");
        let anchor = ["start", "middle", "middle", "middle", "end"][part as usize];
        body += &text(x, bottom + 15.0, anchor, &seconds(whole * f64::from(part) / 4000.0));
    }
    for u in units {
        let (x, wide) = ((u.begin_ms - build.begin_ms as f64) * scale, (u.ms * scale).max(1.0));
        let reason = u.reason.as_deref().map_or(String::new(), |r| format!(", {}", crate::history::sentence(r)));
        let title = format!("{} ({}): {}, {}{reason}", u.unit, u.action, u.outcome, seconds(u.ms / 1000.0));
        body += &bar(u.outcome, [x, u.lane as f64 * LANE + 1.0, wide, LANE - 2.0], &title);
        let fits = ((wide - 6.0) / LETTER).max(0.0) as usize;
        if fits > 4 {
            let y = u.lane as f64 * LANE + 13.0;
            let words = safe(&cut(bare(&u.unit), fits));
            let _ = writeln!(
                body,
                "<text x=\"{:.1}\" y=\"{y:.1}\" style=\"fill:#fff;pointer-events:none\">{words}</text>",
                x + 4.0
            );
        }
    }
    let mut page = drawing(bottom + 22.0, "Timeline of the last build", &body);
    let _ = write!(page, "\n<p class=\"faint\">{} · ended {} UTC", safe(&build.dir), date(build.end_ms));
    if left_out > 0 {
        let _ = write!(page, " · the {left_out} shortest are not drawn");
    }
    page + "</p>"
}

/// A bar made of parts: its name, of each part class, amount and title, and what stands at its end.
type Row<'a> = (String, Vec<(&'a str, f64, String)>, String);

fn bars(label: &str, rows: &[Row]) -> String {
    const ROW: f64 = 26.0;
    let most =
        rows.iter().map(|(_, parts, _)| parts.iter().map(|p| p.1).sum::<f64>()).fold(f64::MIN_POSITIVE, f64::max);
    let longest = rows.iter().map(|(_, _, value)| value.chars().count()).max().unwrap_or(0) as f64;
    let room = WIDTH - 215.0 - longest * LETTER;
    let mut body = String::new();
    for (n, (name, parts, value)) in rows.iter().enumerate() {
        let y = n as f64 * ROW;
        body += &text(190.0, y + 17.0, "end", &shorten(name, 30));
        let mut x = 200.0;
        for (class, amount, title) in parts.iter().filter(|p| p.1 > 0.0) {
            let wide = room * amount / most;
            body += &bar(class, [x, y + 4.0, wide.max(0.5), ROW - 8.0], title);
            x += wide;
        }
        body += &text(x + 8.0, y + 17.0, "start", value);
    }
    drawing(rows.len() as f64 * ROW + 4.0, label, &body)
}

fn actions(report: &Report) -> String {
    let rows = report.summary.actions.iter().map(|(name, tally)| {
        let parts = OUTCOMES.into_iter().zip(counts(tally)).map(|(o, n)| {
            let outcome = outcome_name(o);
            (outcome, n as f64, format!("{name}: {n} {outcome}"))
        });
        (name.clone(), parts.collect(), tally.total().to_string())
    });
    bars("Outcomes by action", &rows.collect::<Vec<_>>())
}

fn methods(report: &Report) -> String {
    let r = &report.summary.restored;
    let methods = [("hard link", r.linked_bytes), ("reflink", r.cloned_bytes), ("copy", r.copied_bytes)];
    let rows = methods.map(|(name, bytes)| {
        (name.to_string(), vec![("bytes", bytes as f64, format!("{name}: {}", size(bytes)))], size(bytes))
    });
    bars("Bytes by restore method", &rows)
}

fn slowest(report: &Report) -> String {
    let rows = report.slowest_rows().map(|(took, miss, note)| {
        let title = format!("{}, {} UTC, {note}", miss.unit, date(miss.time_ms));
        (
            bare(&miss.unit).to_string(),
            vec![("miss", took, title)],
            format!("{} · {}", seconds(took), shorten(&note, 60)),
        )
    });
    bars("Slowest misses", &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn labels() {
        assert_eq!(super::bare("serde_json-16253bb678d742cb"), "serde_json");
        for whole in ["a.o", "my-crate", "-16253bb678d742cb", "é-16253bb678d742cé"] {
            assert_eq!(super::bare(whole), whole);
        }
        assert_eq!((super::cut("ééé", 3), super::cut("éééé", 3)), ("ééé".into(), "éé…".into()));
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(super::safe("<a href='x'>&\"\u{1b}"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot; ");
    }
}
