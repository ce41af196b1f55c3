//! Tables for people, JSON for programs.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use time::OffsetDateTime;

use crate::Problem;
use crate::arguments::Output;

const DAY_SECONDS: u64 = 86_400;

/// Shows a result: as a table for people, or the value for programs.
pub(crate) fn show<T: Serialize + ?Sized>(
    output: Output,
    value: &T,
    head: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<(), Problem> {
    match output {
        Output::Table => print_table(head, rows.into_iter()),
        Output::Json | Output::Yaml => print_value(output, value)?,
    }
    Ok(())
}

/// Tells that something is done.
pub(crate) fn show_done(output: Output, word: &str) -> Result<(), Problem> {
    match output {
        Output::Table => println!("{word}"),
        Output::Json | Output::Yaml => print_value(output, &serde_json::json!({ "event": word }))?,
    }
    Ok(())
}

/// One value: a line of JSON, or a document of YAML.
pub(crate) fn print_value<T: Serialize + ?Sized>(output: Output, value: &T) -> Result<(), Problem> {
    if output == Output::Yaml {
        println!("---\n{}", serde_saphyr::to_string(&value)?.trim_end());
        return Ok(());
    }
    Ok(print_json(value)?)
}

/// One value on one line.
fn print_json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

pub(crate) fn print_table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(head.iter().map(|word| word.to_uppercase()));
    let mut empty = true;
    for row in rows {
        empty = false;
        table.add_row(row);
    }
    if empty {
        println!("none");
    } else {
        println!("{table}");
    }
}

pub(crate) fn metadata_text(metadata: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(" ")
}

/// How long ago a wall clock time was, by our clock.
pub(crate) fn age(millis: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_sub(millis) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / DAY_SECONDS),
    }
}

/// `2026-11-22 16:30:00.123` of milliseconds since 1970; the number itself beyond the year 9999.
pub(crate) fn utc_time(millis: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000);
    let Ok(time) = time else { return millis.to_string() };
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second, part) = time.to_hms_milli();
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{part:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_by_the_calendar() {
        assert_eq!(utc_time(0), "1970-01-01 00:00:00.000");
        assert_eq!(utc_time(1_700_000_000_123), "2023-11-14 22:13:20.123");
        assert_eq!(utc_time(4_107_542_400_000), "2100-03-01 00:00:00.000");
    }

    #[test]
    fn no_time_panics() {
        assert_eq!(utc_time(u64::MAX), u64::MAX.to_string());
        assert_eq!(age(u64::MAX), "0 s");
    }
}
