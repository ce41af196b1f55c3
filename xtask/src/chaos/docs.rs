//! `docs/fault-matrix.md`, written whole: what stands there was measured by the command it names.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::FULL;
use super::report::Report;

const BEFORE: &str = include_str!("docs/before.md");
const DURABLE: &str = include_str!("docs/durable.md");
const AFTER: &str = include_str!("docs/after.md");

/// Writes the page with the table of `report`.
///
/// # Errors
///
/// If the file cannot be written.
pub(super) fn write(root: &Path, report: &Report) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let path = root.join("docs/fault-matrix.md");
    fs::write(&path, page(report, cores)).with_context(|| format!("write {}", path.display()))?;
    println!("written: docs/fault-matrix.md");
    Ok(())
}

fn page(report: &Report, cores: usize) -> String {
    let before = BEFORE
        .replace("SERVICES", &FULL.services.to_string())
        .replace("PER_SERVICE", &FULL.per_service.to_string())
        .replace("CORES", &cores.to_string());
    let durable = DURABLE.replace("CLERKS", &super::load::CLERKS.to_string());
    let (table, notes) = (report.markdown(), report.notes_markdown());
    format!("{before}\n{table}{notes}\n{durable}\n{}\n{AFTER}", report.durable_markdown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_the_table_and_no_blanks_to_fill_in() {
        let page = page(&Report::default(), 2);
        assert!(page.contains("| fault | failed calls |"), "{page}");
        assert!(page.contains("| fault | acknowledged |"), "{page}");
        for left in ["SERVICES", "CORES", "CLERKS"] {
            assert!(!page.contains(left), "{left}");
        }
        assert!(page.contains("300 services of 10 instances") && page.contains("2 cores"));
    }
}
