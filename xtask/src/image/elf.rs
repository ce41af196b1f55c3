//! Whether a program can run in an image that holds nothing else.

use anyhow::{Result, ensure};

use super::Architecture;

/// A segment that names a loader, which the image does not have.
const INTERPRETER: u32 = 3;

/// Checks that a program is for this architecture and needs no file beside it.
pub(super) fn check(program: &[u8], architecture: Architecture) -> Result<()> {
    let header = program.get(..64).unwrap_or_default();
    // 64 bits, least byte first.
    ensure!(header.starts_with(b"\x7fELF\x02\x01"), "this is no program for Linux on 64 bits");
    let machine = match architecture {
        Architecture::Amd64 => 62,
        Architecture::Arm64 => 183,
    };
    ensure!(short(header, 18) == machine, "the program is for another architecture");
    let (first, size, count) = (long(header, 32), short(header, 54), short(header, 56));
    for number in 0..u64::from(count) {
        let at = usize::try_from(first + number * u64::from(size)).unwrap_or(usize::MAX);
        let kind = program.get(at..).and_then(|rest| rest.first_chunk());
        let kind = kind.map(|bytes| u32::from_le_bytes(*bytes));
        ensure!(kind != Some(INTERPRETER), "the program is not static: it needs a loader");
        ensure!(kind.is_some(), "the program is cut off");
    }
    Ok(())
}

fn short(header: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([header[at], header[at + 1]])
}

fn long(header: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes of the header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_a_loader_is_refused() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let text = check(&own, Architecture::own().unwrap()).unwrap_err().to_string();
        assert!(text.contains("not static"), "{text}");
        let other = match Architecture::own().unwrap() {
            Architecture::Amd64 => Architecture::Arm64,
            Architecture::Arm64 => Architecture::Amd64,
        };
        assert!(check(&own, other).unwrap_err().to_string().contains("another architecture"));
        assert!(check(&own[..65], Architecture::own().unwrap()).is_err());
        assert!(check(b"#!/bin/sh", other).is_err());
    }
}
