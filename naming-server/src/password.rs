//! Passwords that a person or a file gives. Never a flag: those are seen by everybody on the machine.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// Bytes of a password file.
const MAX_FILE: u64 = 4_096;

/// A password, which shows itself to nobody by accident.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Of a file if one is named, else of a variable if it is set, else asked for.
    ///
    /// # Errors
    /// The file cannot be read; there is nobody to ask; it is empty.
    pub fn find(file: Option<&Path>, variable: &str, prompt: &str) -> io::Result<Self> {
        let text = match (file, std::env::var(variable)) {
            (Some(file), _) => of_file(file)?,
            (None, Ok(text)) => text,
            (None, Err(_)) => rpassword::prompt_password(prompt).map_err(|error| {
                let text = format!("{prompt}there is no terminal to ask at ({error}); {variable} or a file can give it");
                io::Error::new(error.kind(), text)
            })?,
        };
        if text.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the password is empty"));
        }
        Ok(Self(text))
    }

    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(a password)")
    }
}

/// The file without the end of its line, which editors add.
fn of_file(file: &Path) -> io::Result<String> {
    let named = |kind, text: String| io::Error::new(kind, format!("{}: {text}", file.display()));
    let read = || {
        if fs::metadata(file)?.len() > MAX_FILE {
            let text = format!("longer than {MAX_FILE} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        fs::read_to_string(file)
    };
    let text = read().map_err(|error| named(error.kind(), error.to_string()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> io::Result<Password> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), text)?;
        Password::find(Some(file.path()), "", "")
    }

    #[test]
    fn the_end_of_the_line_is_no_part_of_it() {
        for text in [" a b ", " a b \n", " a b \r\n"] {
            assert_eq!(find(text).unwrap().reveal(), " a b ");
        }
        assert_eq!(format!("{:?}", find("geheim").unwrap()), "(a password)");
    }

    #[test]
    fn files_that_cannot_be_it_are_refused_by_name() {
        assert!(find("\n").unwrap_err().to_string().contains("empty"));
        assert!(find(&"x".repeat(5_000)).unwrap_err().to_string().contains("4096"));
        let missing = Password::find(Some(Path::new("/nowhere/at/all")), "", "").unwrap_err();
        assert!(missing.to_string().starts_with("/nowhere/at/all: "));
    }
}
