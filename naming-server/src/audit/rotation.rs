//! A file that is put aside when it is full: `audit.log` becomes `audit.log.1`, that one
//! `audit.log.2`, and the oldest goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::AuditSettings;

/// Whoever runs the server may read what was done, nobody else.
const MODE: u32 = 0o600;

/// The part of a file that refusals may take: one of so many. They never push out more of what was
/// done than that.
const REFUSAL_PARTS: u64 = 8;

/// A file of lines that does not grow beyond its limit, with some of its predecessors.
#[derive(Debug)]
pub(super) struct RotatedFile {
    settings: AuditSettings,
    file: File,
    bytes: u64,
    /// Those of refusals among them, since this was opened.
    refusal_bytes: u64,
    /// Whether it ends within a line: somebody died, or the disk was full.
    is_torn: bool,
}

impl RotatedFile {
    /// Goes on with what is there.
    ///
    /// # Errors
    /// It cannot be opened or made.
    pub(super) fn open(settings: AuditSettings) -> io::Result<Self> {
        let (file, bytes, is_torn) = open(&settings.file)?;
        Ok(Self { settings, file, bytes, refusal_bytes: 0, is_torn })
    }

    pub(super) fn path(&self) -> &Path {
        &self.settings.file
    }

    /// Writes a line, which ends with a line feed. False if it tells of a refusal and these have
    /// had their part of the file.
    ///
    /// # Errors
    /// It cannot be written, or a full file cannot be put aside. The next line begins anew.
    pub(super) fn append(&mut self, line: &[u8], is_refusal: bool) -> io::Result<bool> {
        if !self.is_in_place() {
            self.reopen()?;
        }
        if is_refusal {
            let refusal_bytes = self.refusal_bytes + line.len() as u64;
            if refusal_bytes > self.settings.max_bytes / REFUSAL_PARTS {
                return Ok(false);
            }
        }
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.settings.max_bytes {
            self.put_aside()?;
        }
        let written = self.write(line);
        if written.is_err() {
            // Some of it may be there.
            self.is_torn = true;
            self.bytes = self.file.metadata().map_or(self.bytes, |metadata| metadata.len());
        }
        if is_refusal {
            self.refusal_bytes += line.len() as u64;
        }
        written.map(|()| true)
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.bytes += 1;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        self.is_torn = false;
        Ok(())
    }

    /// Whether nobody has moved or removed the file, as programs that rotate logs do.
    fn is_in_place(&self) -> bool {
        match (fs::metadata(&self.settings.file), self.file.metadata()) {
            (Ok(named), Ok(open)) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
            _ => false,
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.bytes, self.is_torn) = open(&self.settings.file)?;
        self.refusal_bytes = 0;
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let oldest = self.settings.files - 1;
        if oldest == 0 {
            self.file.set_len(0)?;
            (self.bytes, self.refusal_bytes, self.is_torn) = (0, 0, false);
            return Ok(());
        }
        // Up to the first gap only: if moving the newest fails, trying again must not push the
        // others out.
        let gap = (1..oldest).find(|number| !self.numbered(*number).exists()).unwrap_or(oldest);
        for number in (1..=gap).rev() {
            match fs::rename(self.numbered(number - 1), self.numbered(number)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.reopen()
    }

    /// The file itself is number 0.
    fn numbered(&self, number: u32) -> PathBuf {
        let mut path = self.settings.file.clone().into_os_string();
        if number > 0 {
            path.push(format!(".{number}"));
        }
        path.into()
    }
}

/// The file, its length, and whether it ends within a line.
fn open(path: &Path) -> io::Result<(File, u64, bool)> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).mode(MODE).open(path)?;
    let bytes = file.metadata()?.len();
    if bytes == 0 {
        return Ok((file, 0, false));
    }
    file.seek(SeekFrom::Start(bytes - 1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok((file, bytes, last != *b"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path, files: u32) -> AuditSettings {
        AuditSettings { file: folder.join("audit.log"), max_bytes: 10, files }
    }

    /// What the files hold, the newest first.
    fn held(folder: &Path) -> Vec<String> {
        let names = ["audit.log", "audit.log.1", "audit.log.2", "audit.log.3"];
        names.iter().map_while(|name| fs::read_to_string(folder.join(name)).ok()).collect()
    }

    #[test]
    fn full_files_are_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = RotatedFile::open(settings(folder.path(), 3)).unwrap();
        for line in ["1234\n", "5678\n", "9\n", "much more than fits\n", "a\n", "b\n"] {
            file.append(line.as_bytes(), false).unwrap();
        }
        assert_eq!(held(folder.path()), ["a\nb\n", "much more than fits\n", "9\n"]);
        let mut alone = RotatedFile::open(settings(folder.path(), 1)).unwrap();
        alone.append(b"12345678\n", false).unwrap();
        assert_eq!(held(folder.path())[0], "12345678\n");
    }

    #[test]
    fn refusals_have_a_part_of_each_file_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let settings = AuditSettings { max_bytes: 80, ..settings(folder.path(), 2) };
        let mut file = RotatedFile::open(settings).unwrap();
        let taken = |file: &mut RotatedFile| {
            (0..100).filter(|_| file.append(b"no\n", true).unwrap()).count()
        };
        file.append(b"done\n", false).unwrap();
        assert_eq!(taken(&mut file), 3);
        for _ in 0..13 {
            file.append(b"done\n", false).unwrap();
        }
        assert_eq!(taken(&mut file), 0);
        // The first one ends the file, which was full, and begins the next one.
        file.append(b"done\n", false).unwrap();
        assert_eq!(taken(&mut file), 3);
        let done = |text: &String| text.matches("done").count();
        assert_eq!(held(folder.path()).iter().map(done).collect::<Vec<_>>(), [1, 14]);
    }

    #[test]
    fn what_was_there_is_kept_and_a_torn_line_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), 2);
        fs::write(&settings.file, "old\nto").unwrap();
        let mut file = RotatedFile::open(settings.clone()).unwrap();
        file.append(b"a\n", false).unwrap();
        assert_eq!(held(folder.path()), ["old\nto\na\n"]);
        // As a program that rotates logs does.
        fs::rename(&settings.file, folder.path().join("audit.log.1")).unwrap();
        file.append(b"b\n", false).unwrap();
        assert_eq!(held(folder.path()), ["b\n", "old\nto\na\n"]);
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_does_not_grow_nor_push_out_others() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = RotatedFile::open(settings(folder.path(), 3)).unwrap();
        file.append(b"12345678\n", false).unwrap();
        let oldest = folder.path().join("audit.log.2");
        fs::create_dir(&oldest).unwrap();
        fs::write(folder.path().join("audit.log.1"), "1\n").unwrap();
        for _ in 0..3 {
            file.append(b"new\n", false).unwrap_err();
        }
        assert_eq!(held(folder.path()), ["12345678\n", "1\n"]);
        fs::remove_dir(oldest).unwrap();
        file.append(b"new\n", false).unwrap();
        assert_eq!(held(folder.path()), ["new\n", "12345678\n", "1\n"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), 2);
        RotatedFile::open(settings.clone()).unwrap();
        assert_eq!(fs::metadata(settings.file).unwrap().mode() & 0o077, 0);
    }
}
