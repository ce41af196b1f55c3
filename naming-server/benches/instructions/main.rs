//! Requests from the socket to the reply and back, to be counted by `cargo xtask instructions`.
//!
//! `instructions NAME COUNT` starts a server, fills it, then asks the named thing COUNT times, one
//! after the other over one connection. The difference between two counts is what a request costs.
//! Server and client share one thread, so that nothing depends on who runs when; the client's part
//! is a buffer written and a buffer read: all requests are made beforehand, whatever COUNT is.

mod grpc;

use std::fmt::Write;
use std::net::SocketAddr;

use memchr::memmem;
use naming_server::{Config, Hidden, NewUser, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SERVICES: u64 = 100;
const HOSTS: u64 = 10;
/// Requests made beforehand.
const MOST: u64 = 2_000;
/// A service besides, for long lists.
const LARGE: &str = "bench.large";
const LARGE_HOSTS: u64 = 100;
const NAMES: [&str; 15] = [
    "beat-light",
    "beat-full",
    "list-cached",
    "list-cached-100",
    "list-cached-token",
    "list-cached-password",
    "register-again",
    "register-new",
    "register-and-deregister",
    "change-and-list-10",
    "change-and-list-100",
    "grpc-query",
    "grpc-register-again",
    "grpc-register-and-deregister",
    "grpc-health-check",
];
/// Signs tokens here and nowhere else.
const TOKEN_KEY: &str = "Y291bnRlZCBpbnN0cnVjdGlvbnMgYW5kIG5vdGhpbmcgZWxzZQ==";
const PASSWORD: &str = "username=bench&password=secret";
const METADATA: &str = "%7B%22preserved.heart.beat.timeout%22%3A%2286400000%22%2C\
    %22preserved.ip.delete.timeout%22%3A%2286400000%22%7D";
const HEADERS: &str = "Host: 127.0.0.1:8848\r\nAccept-Charset: UTF-8\r\n\
    Accept-Encoding: gzip,deflate,sdch\r\n\
    Content-Type: application/x-www-form-urlencoded;charset=UTF-8\r\nClient-Version: 1.4.8\r\n\
    User-Agent: Nacos-Java-Client:v1.4.8\r\nRequestId: 5a4e9bc8-3c1f-4e0d-9a55-0c8ef7e1b2d4\r\n\
    Request-Module: Naming\r\nConnection: keep-alive\r\n";

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (Some(name), Some(count)) = (arguments.next(), arguments.next()) else {
        eprintln!("instructions NAME COUNT, with one of {NAMES:?}");
        return;
    };
    let count = count.parse().expect("the count is a number");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be had");
    runtime.block_on(async {
        let mut config = Config { bind: "127.0.0.1".to_owned(), port: 0, ..Config::default() };
        config.grpc.shared_port = true;
        if has_users(&name) {
            config.auth.enabled = true;
            config.auth.token_key = Hidden(TOKEN_KEY.to_owned());
        }
        let mut server = Server::bind(config).await.expect("a free port can be had");
        if has_users(&name) {
            let user = NewUser::new("bench", "secret", true).expect("a user can be made");
            server = server.with_user(user);
        }
        let asking = tokio::spawn(ask(server.local_addr(), name, count));
        let asked = async { asking.await.expect("every request is answered as expected") };
        server.run(asked).await.expect("it serves until it is told to stop");
    });
}

/// Whether requests are to say who sends them.
fn has_users(name: &str) -> bool {
    name.ends_with("-token") || name.ends_with("-password")
}

async fn ask(address: SocketAddr, name: String, count: u64) {
    let mut client = Client::open(address).await;
    if has_users(&name) {
        client.log_in(name.ends_with("-token")).await;
    }
    for index in 0..SERVICES * HOSTS {
        let request = client.prove(instance("POST", &service(index), index, 1));
        client.exchange(&request, b"ok").await;
    }
    for index in 0..LARGE_HOSTS {
        let request = client.prove(instance("POST", LARGE, index, 1));
        client.exchange(&request, b"ok").await;
    }
    for service in (0..SERVICES).map(service).chain([LARGE.to_owned()]) {
        let request = client.prove(list(&service));
        client.exchange(&request, b"\"hosts\":[{").await;
    }
    assert!(count <= MOST, "at most {MOST} times");
    if name.starts_with("grpc-") {
        return ask_over_grpc(address, &name, count).await;
    }
    let mut steps: Vec<Vec<Step>> = (0..MOST).map(|number| steps(&name, number)).collect();
    for step in steps.iter_mut().flatten() {
        step.request = client.prove(std::mem::take(&mut step.request));
    }
    for step in steps.iter().take(count as usize).flatten() {
        client.exchange(&step.request, step.expected).await;
    }
}

async fn ask_over_grpc(address: SocketAddr, name: &str, count: u64) {
    let mut client = grpc::Client::set_up(address).await;
    let steps: Vec<_> = (0..MOST).map(|number| grpc::steps(name, &service(number))).collect();
    for step in steps.iter().take(count as usize).flatten() {
        client.exchange(step).await;
    }
}

/// A request and what its reply must hold.
struct Step {
    request: String,
    expected: &'static [u8],
}

fn steps(name: &str, number: u64) -> Vec<Step> {
    let of = |request, expected| Step { request, expected };
    let post = |service: &str, index, weight| of(instance("POST", service, index, weight), b"ok");
    let listed = |service: &str| of(list(service), b"\"hosts\":[{");
    let index = number % (SERVICES * HOSTS);
    let (service, weight) = (service(index), number % 997 + 2);
    let new = (1 << 20) + number;
    match name {
        "beat-light" => vec![of(beat(&service, index), b"\"code\":10200")],
        "beat-full" => vec![of(full_beat(&service, index), b"\"code\":10200")],
        "list-cached" | "list-cached-token" | "list-cached-password" => vec![listed(&service)],
        "list-cached-100" => vec![listed(LARGE)],
        "register-again" => vec![post(&service, index, 1)],
        "register-new" => vec![post(&service, new, 1)],
        "register-and-deregister" => {
            vec![post(&service, new, 1), of(instance("DELETE", &service, new, 1), b"ok")]
        }
        "change-and-list-10" => vec![post(&service, index, weight), listed(&service)],
        "change-and-list-100" => {
            vec![post(LARGE, number % LARGE_HOSTS, weight), listed(LARGE)]
        }
        _ => panic!("no such name: {name}"),
    }
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// What each request has besides, at the end of its query.
    proof: String,
}

impl Client {
    async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("the connection stands");
        Self { stream, input: vec![0; 256 << 10], proof: String::new() }
    }

    /// The request with what proves who sends it.
    fn prove(&self, request: String) -> String {
        match self.proof.as_str() {
            "" => request,
            proof => request.replacen(" HTTP/1.1", &format!("{proof} HTTP/1.1"), 1),
        }
    }

    /// Finds what proves who sends a request.
    async fn log_in(&mut self, with_token: bool) {
        self.proof = format!("&{PASSWORD}");
        if with_token {
            let login = format!("POST /nacos/v1/auth/login?{PASSWORD} HTTP/1.1\r\n{HEADERS}\r\n");
            self.exchange(&login, b"accessToken").await;
            let body = body_of(&self.input).expect("it has just been received");
            let text = String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned();
            let token = text.split('"').nth(3).expect("the token is the first value");
            self.proof = format!("&accessToken={token}");
        }
    }

    /// One request and its reply, of which only the end of the head and the status are looked at:
    /// the counts are to be those of the server.
    async fn exchange(&mut self, request: &str, expected: &[u8]) {
        self.stream.write_all(request.as_bytes()).await.expect("the connection stands");
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.input[filled..]).await;
            let read = read.expect("the connection stands");
            assert_ne!(read, 0, "the server closed the connection");
            filled += read;
            if let Some(body) = body_of(&self.input[..filled]) {
                // It stands at the beginning of all replies but lists, whose hosts come early.
                let found = memmem::find(&body[..body.len().min(300)], expected);
                assert!(found.is_some(), "{request}\n{}", String::from_utf8_lossy(body));
                return;
            }
        }
    }
}

/// The body, once it is complete.
fn body_of(input: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"content-length: ";
    let head_bytes = memmem::find(input, b"\r\n\r\n")? + 4;
    let value = memmem::find(&input[..head_bytes], NAME)? + NAME.len();
    let digits = input[value..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    input[head_bytes..].get(..length)
}

fn service(index: u64) -> String {
    format!("bench.service.{:06}", index % SERVICES)
}

fn address(index: u64) -> String {
    format!("10.{}.{}.{}", index >> 16 & 255, index >> 8 & 255, index & 255)
}

fn list(service: &str) -> String {
    format!(
        "GET /nacos/v1/ns/instance/list?app=unknown&namespaceId=public\
         &serviceName=DEFAULT_GROUP%40%40{service}&clusters=&udpPort=0&clientIP=127.0.0.1\
         &healthyOnly=false HTTP/1.1\r\n{HEADERS}\r\n"
    )
}

fn beat(service: &str, index: u64) -> String {
    format!(
        "PUT /nacos/v1/ns/instance/beat?app=unknown&namespaceId=public\
         &serviceName=DEFAULT_GROUP%40%40{service}&clusterName=DEFAULT&ip={}&port=8080\
         &ephemeral=true HTTP/1.1\r\n{HEADERS}\r\n",
        address(index)
    )
}

fn full_beat(service: &str, index: u64) -> String {
    let address = address(index);
    let body = format!(
        "beat=%7B%22cluster%22%3A%22DEFAULT%22%2C%22ip%22%3A%22{address}%22%2C\
         %22metadata%22%3A{METADATA}%2C%22period%22%3A5000%2C%22port%22%3A8080%2C\
         %22scheduled%22%3Afalse%2C%22serviceName%22%3A%22DEFAULT_GROUP%40%40{service}%22%2C\
         %22stopped%22%3Afalse%2C%22weight%22%3A1.0%7D&"
    );
    let head = beat(service, index);
    let mut request = head.trim_end().to_owned();
    // Writing to a string cannot fail.
    let _ = write!(request, "\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    request
}

fn instance(method: &str, service: &str, index: u64, weight: u64) -> String {
    format!(
        "{method} /nacos/v1/ns/instance?app=unknown&namespaceId=public\
         &serviceName=DEFAULT_GROUP%40%40{service}&groupName=DEFAULT_GROUP&clusterName=DEFAULT\
         &ip={}&port=8080&weight={weight}.0&enable=true&healthy=true&ephemeral=true\
         &metadata={METADATA} HTTP/1.1\r\n{HEADERS}\r\n",
        address(index)
    )
}
