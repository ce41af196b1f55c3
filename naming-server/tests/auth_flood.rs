//! Somebody guesses passwords by the hundred, under names that change: who else logs in does not
//! notice.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use naming_server::NewUser;
use socket2::{Domain, Socket, Type};

mod auth_support;

use auth_support::server_support::TestServer;
use auth_support::{Guarded, encode, guarded_config};

/// Guesses of one source under way at a time.
const GUESSES: usize = 400;
/// Others must not wait longer. A guess takes some 60 ms, here often more; alone in its lane a
/// log-in waits for one guess of each source.
const SOON: Duration = Duration::from_secs(4);

/// A connection from another address of loopback.
fn connect_from(source: [u8; 4], server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.into()
}

fn log_in_from(source: [u8; 4], server: &TestServer, user: &str, password: &str) -> TcpStream {
    let mut stream = connect_from(source, server.address);
    let target =
        format!("/nacos/v1/auth/login?username={}&password={}", encode(user), encode(password));
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn status(mut stream: TcpStream) -> u16 {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Guesses from each of so many sources, none of them answered yet.
fn flood(server: &TestServer, sources: u8) -> Vec<TcpStream> {
    let guess = |n: usize| {
        let source = [127, 0, 9, u8::try_from(n % usize::from(sources)).unwrap() + 1];
        log_in_from(source, server, &format!("name {n}"), "guess")
    };
    (0..GUESSES * usize::from(sources)).map(guess).collect()
}

#[test]
fn guesses_under_random_names_keep_nobody_at_another_address_out() {
    let site = Guarded::start_with_users(vec![
        NewUser::new("root", "root's password", true).unwrap(),
        NewUser::new("one", "p", false).unwrap(),
        NewUser::new("two", "p", false).unwrap(),
    ]);
    let guesses = flood(&site.server, 3);
    // Never verified before, each.
    for user in ["one", "two"] {
        let start = Instant::now();
        assert_eq!(status(log_in_from([127, 0, 0, 1], &site.server, user, "p")), 200, "{user}");
        assert!(start.elapsed() < SOON, "{user}: {:?}", start.elapsed());
    }
    let (refused, busy): (Vec<_>, Vec<_>) =
        guesses.into_iter().map(status).partition(|status| *status == 403);
    assert!(busy.iter().all(|status| *status == 503), "{busy:?}");
    // Of each source no more than may stand in its lane.
    assert!(refused.len() < GUESSES, "{} were tried", refused.len());
}

#[test]
fn a_client_whose_password_is_remembered_goes_on_at_the_very_address_of_the_guesses() {
    let site = Guarded::start();
    let attacker = [127, 0, 9, 1];
    assert_eq!(status(log_in_from(attacker, &site.server, "root", "root's password")), 200);
    let guesses = flood(&site.server, 1);
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(status(log_in_from(attacker, &site.server, "root", "root's password")), 200);
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
    drop(guesses);
}

#[test]
fn an_administrator_makes_users_while_somebody_at_the_same_address_guesses() {
    let site = Guarded::start_with(guarded_config());
    let root = site.root();
    let guesses: Vec<_> = (0..GUESSES)
        .map(|n| log_in_from([127, 0, 0, 1], &site.server, &format!("name {n}"), "guess"))
        .collect();
    let start = Instant::now();
    site.ok(&root, "POST auth/users", &[("username", "u"), ("password", "p")]);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    drop(guesses);
}
