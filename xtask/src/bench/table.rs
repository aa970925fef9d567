//! The figures as text.

use std::fmt::Write as _;

use super::figure::{Figure, Row};
use super::report::Report;

/// A number with three digits that matter.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The whole report as a reader of a terminal wants it.
pub fn table(report: &Report) -> String {
    let host = &report.host;
    let mut text = format!(
        "{}, {} cores, {} MiB, {}, Linux {}, control groups v{}, load {}\n",
        host.cpu, host.cores, host.memory_mib, host.system, host.kernel, host.control_groups, host.load
    );
    line(&mut text, &format!("utility VMs: {}, guest {}, KVM: {}", host.qemu, host.guest_kernel, host.kvm));
    text.push('\n');
    for engine in &report.engines {
        let version = engine.version.replace('\n', ", ");
        line(&mut text, &format!("{:<32} {version}", engine.engine));
    }
    for absent in &report.absent {
        line(&mut text, &format!("{:<32} NOT MEASURED: {}", absent.peer, absent.reason));
    }
    for figure in &report.figures {
        text.push('\n');
        section(&mut text, figure);
    }
    text
}

fn section(text: &mut String, figure: &Figure) {
    let better = if figure.more_is_better { "more is better" } else { "less is better" };
    line(text, &format!("{} [{}], {better} ({})", figure.title, figure.unit, figure.name));
    let counted = figure.rows.iter().any(|row| row.cpu_ms.is_some());
    let cpu = if counted { "CPU MS" } else { "" };
    line(text, &format!("  {:<32} {:>10} {:>21} {:>4} {cpu:>9}", "", "MEDIAN", "(MIN - MAX)", "N"));
    for row in &figure.rows {
        line(text, &numbers(row));
    }
}

fn numbers(row: &Row) -> String {
    let mut text = format!("  {:<32}", row.engine);
    if let Some(value) = row.value {
        let spread = format!("({} - {})", number(value.min), number(value.max));
        let _ = write!(text, " {:>10} {spread:>21} {:>4}", number(value.median), value.n);
        if let Some(cpu) = row.cpu_ms {
            let _ = write!(text, " {:>9}", number(cpu.median));
        }
    }
    if let Some(reason) = &row.failed {
        let _ = write!(text, "  failed: {reason}");
    }
    text
}

/// Adds a line without spaces at its end.
fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figure::{Sample, Spec};

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!(["0.12", "1.50", "23.5", "346"], [0.123, 1.5, 23.46, 345.6].map(number)[..]);
    }

    #[test]
    fn a_section_has_a_line_for_each_engine() {
        let mut figure = Figure::new(&Spec::cost("start", "run -d", "ms"));
        let sample = |value| Sample { value, cpu_ms: Some(3.0) };
        figure.add("ours", true, &[1.0, 2.0, 40.0].map(sample), None);
        figure.add("theirs", false, &[], Some("no rights".to_owned()));
        let mut text = String::new();
        section(&mut text, &figure);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(text.lines().next().unwrap(), "run -d [ms], less is better (start)");
        assert_eq!(lines[2], ["ours", "2.00", "(1.00", "-", "40.0)", "3", "3.00"]);
        assert_eq!(lines[3], ["theirs", "failed:", "no", "rights"]);
    }
}
