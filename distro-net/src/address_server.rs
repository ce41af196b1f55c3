//! A server that hands out the list of members: the `address-server` of Nacos.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// What a look may take, from the connection to the end of the answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// A longer answer is not a list of members.
const MOST_BYTES: usize = 1 << 20;

/// The port and the path that Nacos assumes.
const DEFAULT_PORT: u16 = 8_080;
const DEFAULT_PATH: &str = "/nacos/serverlist";

/// Where an address server is: `http://host:port/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressServer {
    /// `host:port`, to connect to and to name in the request.
    authority: String,
    /// With the query, if there is one.
    path: String,
}

/// Not the place of an address server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the place of an address server; write http://host:port/path")]
pub struct BadAddressServer(pub String);

impl FromStr for AddressServer {
    type Err = BadAddressServer;

    /// Without `http://` it is understood, and so are port 8080 and path `/nacos/serverlist`.
    fn from_str(text: &str) -> Result<Self, BadAddressServer> {
        let bad = || BadAddressServer(text.to_owned());
        let bare = text.strip_prefix("http://").unwrap_or(text);
        let uri: Uri = format!("http://{bare}").parse().map_err(|_| bad())?;
        let authority = uri.authority().ok_or_else(bad)?;
        let is_strange = authority.as_str().contains('@') || authority.port_u16() == Some(0);
        let port_follows = authority.as_str().len() > authority.host().len();
        if bare.contains("://") || authority.host().is_empty() || is_strange {
            return Err(bad());
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if port_follows => return Err(bad()),
            None => DEFAULT_PORT,
        };
        let path = match uri.path_and_query().map(|path| path.as_str()) {
            None | Some("" | "/") => DEFAULT_PATH.to_owned(),
            Some(path) => path.to_owned(),
        };
        Ok(Self { authority: format!("{}:{port}", authority.host()), path })
    }
}

impl fmt::Display for AddressServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}{}", self.authority, self.path)
    }
}

impl AddressServer {
    /// What it answers now. Fails for every answer but 200 and for one that is too long or late.
    pub(crate) async fn fetch(&self) -> io::Result<Bytes> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the address server is silent");
        tokio::time::timeout(DEADLINE, self.exchange()).await.map_err(late)?
    }

    async fn exchange(&self) -> io::Result<Bytes> {
        let stream = TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let request = Request::get(&self.path)
            .header(HOST, &self.authority)
            .header(ACCEPT, "application/json")
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            if response.status() != StatusCode::OK {
                let status = response.status().as_u16();
                return Err(io::Error::other(format!("the address server answered {status}")));
            }
            let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
            Ok(body.map_err(io::Error::other)?.to_bytes())
        };
        let mut answer = std::pin::pin!(answer);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            // It may end with the answer.
            _ = &mut connection => answer.await,
        }
    }
}

/// The list in an answer, `{"code":200,"data":"ip:port\nip:port"}`: the only form that servers of
/// Nacos 1.4 read.
pub(crate) fn text_of_members(body: &[u8]) -> io::Result<String> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let value: Value = serde_json::from_slice(body)
        .map_err(|_| bad(r#"not JSON of the form {"code":200,"data":"ip:port\nip:port"}"#))?;
    // Java takes 0 for success, too.
    if !matches!(value["code"].as_i64(), Some(0 | 200)) {
        return Err(bad("the code in the answer is not 200"));
    }
    match &value["data"] {
        Value::String(text) => Ok(text.clone()),
        _ => Err(bad("the data in the answer is no text")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::Notify;

    use super::*;
    use crate::{Address, MemberSource, Spelling};

    #[test]
    fn a_place_may_be_short() {
        let place = |text: &str| text.parse::<AddressServer>().map(|place| place.to_string());
        assert_eq!(place("jmenv").unwrap(), "http://jmenv:8080/nacos/serverlist");
        assert_eq!(place("http://10.0.0.1:80/").unwrap(), "http://10.0.0.1:80/nacos/serverlist");
        assert_eq!(place("http://a:1/list?x=y").unwrap(), "http://a:1/list?x=y");
        assert_eq!(place("[::1]:9").unwrap(), "http://[::1]:9/nacos/serverlist");
        for bad in
            ["", "https://a", "http://", "http://a:0/", "a:x/", "a b", "u@a", "ftp://a", "a:"]
        {
            assert!(place(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_the_form_of_java_is_a_list() {
        let text = |body: &str| text_of_members(body.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(text(r#"{"code":200,"data":"a:1\nb:2","message":null}"#).unwrap(), "a:1\nb:2");
        assert!(text("10.0.0.1:8848\n").unwrap_err().contains("JSON"));
        assert!(text(r#"{"code":500,"data":"a:1"}"#).unwrap_err().contains("code"));
        assert!(text(r#"{"code":200,"data":["a:1"]}"#).unwrap_err().contains("no text"));
        assert!(text("[]").is_err());
    }

    /// For what takes no certain time.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Answers each request with what the list says at that time. Who gives up a look hangs up in
    /// the middle, and others are served all the same.
    async fn serve(listener: TcpListener, answer: Arc<Mutex<String>>, asked: Arc<Notify>) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n")
                && let Ok(byte) = stream.read_u8().await
            {
                head.push(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let asks = "GET /nacos/serverlist HTTP/1.1\r\n";
            assert!(head.starts_with(asks) || asks.starts_with(&head), "{head}");
            let text = answer.lock().unwrap().clone();
            if stream.write_all(text.as_bytes()).await.is_ok() {
                asked.notify_one();
            }
        }
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn the_list_of_an_address_server_is_followed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap().to_string().parse().unwrap();
        let answer = Arc::new(Mutex::new(http("503 Busy", "")));
        let asked = Arc::new(Notify::new());
        let served = tokio::spawn(serve(listener, Arc::clone(&answer), Arc::clone(&asked)));
        let source = MemberSource::AddressServer { server, period: Duration::from_millis(10) };
        let started = tokio::spawn(source.start(Spelling::Verbatim));
        asked.notified().await;
        *answer.lock().unwrap() = http("200 OK", r#"{"code":200,"data":"Node-1:80\n10.0.0.1"}"#);
        let (first, mut watch) = started.await.unwrap().unwrap();
        let texts: Vec<&str> = first.iter().map(Address::as_str).collect();
        assert_eq!(texts, ["10.0.0.1:8848", "Node-1:80"], "as spelled, after a first failure");
        *answer.lock().unwrap() = http("200 OK", "a plain list:1");
        let waited = tokio::time::timeout(Duration::from_millis(100), watch.changed()).await;
        assert!(waited.is_err(), "what is no list changes nothing");
        *answer.lock().unwrap() = http("200 OK", r#"{"code":200,"data":"10.0.0.1"}"#);
        let changed = tokio::time::timeout(PATIENCE, watch.changed()).await;
        assert_eq!(changed.expect("the list has changed").len(), 1);
        served.abort();
    }
}
