//! Cells in columns, for people and for the documentation.

use std::fmt;

/// A table; every row has as many cells as there are heads.
pub(super) struct Table<const COLUMNS: usize> {
    pub(super) heads: [&'static str; COLUMNS],
    pub(super) rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// As it stands in the documentation.
    pub(super) fn markdown(&self) -> String {
        let line = |cells: &[String; COLUMNS]| {
            format!("| {} |\n", cells.join(" | ")).replace("|  |", "| |")
        };
        let rule = format!("|{}\n", "---|".repeat(COLUMNS));
        let rows: String = self.rows.iter().map(line).collect();
        line(&self.heads.map(str::to_owned)) + &rule + &rows
    }
}

impl<const COLUMNS: usize> fmt::Display for Table<COLUMNS> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = self.heads.map(str::to_owned);
        let lines = || std::iter::once(&heads).chain(&self.rows);
        let width = |column: usize| lines().map(|cells| cells[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
        for line in lines() {
            for (index, (cell, &width)) in line.iter().zip(&widths).enumerate() {
                match index {
                    0 => write!(formatter, "{cell:<width$}")?,
                    _ => write!(formatter, "  {cell:>width$}")?,
                }
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}
