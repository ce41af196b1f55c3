//! Changes to users through a server that runs.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use hyper::Method;
use naming_http::Form;

use crate::password::Password;
use crate::remote::{CallError, Credentials, Place, Remote};

/// How long one call may take; a password is hashed meanwhile, perhaps after others.
const DEADLINE: Duration = Duration::from_secs(15);
/// Bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;

/// The administrator who asks a running server, and where it runs.
#[derive(Debug)]
pub struct RemoteAdministrator(Remote);

impl RemoteAdministrator {
    /// Logs in at a server, `http://host:port` or `https://host:port`, with the context path behind
    /// it unless that is `/nacos`.
    ///
    /// # Errors
    /// The text is no such address; the server cannot be reached, or knows no such user with this
    /// password.
    pub async fn log_in(server: &str, user: &str, password: Password) -> Result<Self> {
        let place = place(server)?;
        let credentials = Credentials { user: user.to_owned(), password };
        let remote = Remote::new(place, Some(credentials), DEADLINE);
        let this = Self(remote.with_max_answer(MAX_ANSWER).once());
        this.0.log_in().await.map_err(|error| this.said(&error))?;
        Ok(this)
    }

    /// Makes a user.
    ///
    /// # Errors
    /// The server refuses it, in its words.
    pub async fn add_user(&self, name: &str, password: &Password, is_admin: bool) -> Result<()> {
        let admin = if is_admin { "true" } else { "false" };
        let form = [("username", name), ("password", password.reveal()), ("admin", admin)];
        let written = self.0.write(Method::POST, "/v1/auth/users", Form::of(&form)).await;
        written.map(drop).map_err(|error| self.said(&error))
    }

    fn said(&self, error: &CallError) -> anyhow::Error {
        match error {
            // Names the server itself.
            CallError::Lost { .. } => anyhow!("{error}"),
            _ => anyhow!("{} answers {error}", self.0.place()),
        }
    }
}

fn place(server: &str) -> Result<Place> {
    let is_address = ["http://", "https://"].iter().any(|scheme| server.starts_with(scheme));
    match server.parse() {
        Ok(place) if is_address => Ok(place),
        Ok(_) => bail!("a server is named as http://host:port, not {server:?}"),
        Err(reason) => bail!("a server is named as http://host:port, not {server:?}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_address() {
        let read = |text: &str| place(text).unwrap().to_string();
        assert_eq!(read("http://a:81"), "http://a:81/nacos");
        assert_eq!(read("http://a/"), "http://a:8848/nacos");
        assert_eq!(read("https://[::1]:81/x/y/"), "https://[::1]:81/x/y");
        for bad in ["", "a:81", "ftp://a:81", "http://", "http:///nacos"] {
            assert!(place(bad).unwrap_err().to_string().contains("http://host:port"), "{bad}");
        }
    }
}
