//! Changes to users through a server that runs.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::password::Password;
use crate::text::cut;

/// How long one call may take; a password is hashed meanwhile, perhaps after others.
const DEADLINE: Duration = Duration::from_secs(15);
/// Bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;
/// Bytes of an answer that are shown.
const MAX_SHOWN: usize = 300;

/// The administrator who asks a running server, and where it runs.
#[derive(Debug)]
pub struct RemoteAdministrator {
    /// Host and port.
    authority: String,
    /// Prefix of the API's paths, without a slash at its end.
    context_path: String,
    token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    access_token: String,
}

impl RemoteAdministrator {
    /// Logs in at a server, `http://host:port`, with the context path behind it unless that is
    /// `/nacos`.
    ///
    /// # Errors
    /// The text is no such address; the server cannot be reached, or knows no such user with this
    /// password.
    pub async fn log_in(server: &str, user: &str, password: &Password) -> Result<Self> {
        let (authority, context_path) = address(server)?;
        let mut this = Self { authority, context_path, token: String::new() };
        let form = form(&[("username", user), ("password", password.reveal())]);
        let answer = this.post("/v1/auth/login", form).await?;
        let login: Login = serde_json::from_str(&answer).context("this is no log-in")?;
        this.token = login.access_token;
        Ok(this)
    }

    /// Makes a user.
    ///
    /// # Errors
    /// The server refuses it, in its words.
    pub async fn add_user(&self, name: &str, password: &Password, is_admin: bool) -> Result<()> {
        let admin = if is_admin { "true" } else { "false" };
        let fields = [("username", name), ("password", password.reveal()), ("admin", admin)];
        self.post("/v1/auth/users", form(&fields)).await.map(|_| ())
    }

    async fn post(&self, path: &str, form: String) -> Result<String> {
        let call = tokio::time::timeout(DEADLINE, self.exchange(path, form));
        let (status, text) = call
            .await
            .map_err(|_| anyhow!("no answer within {} s", DEADLINE.as_secs()))
            .and_then(|answer| answer)
            .with_context(|| format!("cannot call {}", self.authority))?;
        let shown = cut(&text, MAX_SHOWN);
        ensure!(status.is_success(), "{} answers {status}: {shown}", self.authority);
        Ok(text)
    }

    async fn exchange(&self, path: &str, form: String) -> Result<(StatusCode, String)> {
        let stream = TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::post(format!("{}{path}", self.context_path))
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if !self.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        let response = sender.send_request(request.body(Full::new(Bytes::from(form)))?).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow!(error))?.to_bytes();
        connection.abort();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// Host and port, and the context path.
fn address(server: &str) -> Result<(String, String)> {
    let Some(rest) = server.strip_prefix("http://") else {
        bail!("a server is named as http://host:port, not {server:?}");
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    ensure!(!authority.is_empty(), "a server is named as http://host:port, not {server:?}");
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let authority = if has_port { authority.to_owned() } else { format!("{authority}:8848") };
    let path = path.trim_end_matches('/');
    let context_path = if path.is_empty() { "/nacos".to_owned() } else { format!("/{path}") };
    Ok((authority, context_path))
}

fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let byte = |byte: u8| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        text.bytes().map(byte).collect()
    };
    let pairs = fields.iter().map(|(name, value)| format!("{name}={}", encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_address() {
        let read = |text: &str| address(text).unwrap();
        assert_eq!(read("http://a:81"), ("a:81".to_owned(), "/nacos".to_owned()));
        assert_eq!(read("http://a/"), ("a:8848".to_owned(), "/nacos".to_owned()));
        assert_eq!(read("http://[::1]:81/x/y/"), ("[::1]:81".to_owned(), "/x/y".to_owned()));
        assert_eq!(read("http://[::1]"), ("[::1]:8848".to_owned(), "/nacos".to_owned()));
        for bad in ["", "a:81", "https://a:81", "http://", "http:///nacos"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form(&[("a", "x y&ü"), ("b", "")]), "a=x%20y%26%C3%BC&b=");
    }
}
