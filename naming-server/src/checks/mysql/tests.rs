use mysql_common::num_bigint::BigUint;
use proptest::prelude::*;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const USER: &str = "checker";
pub(in crate::checks) const PASSWORD: &str = "s3cret-päss";
const COMMAND: &str = "select 'x-ray'";
const NATIVE: &str = "mysql_native_password";
const SHA2: &str = "caching_sha2_password";
const NONCE: [u8; 20] = *b"abcdefghijklmnopqrs\0";
/// What a server of today knows, TLS among it.
const ALL: u32 = 0xffff_ffff;
const OK_PACKET: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
const END_PACKET: &[u8] = &[0xfe, 0, 0, 2, 0];
/// Access denied, with what a server says of whom.
const DENIED: &[u8] =
    b"\xff\x15\x04#28000Access denied for user 'checker'@'h' (s3cret-p\xc3\xa4ss)";

/// The side of a server, as far as these tests need one.
pub(in crate::checks) struct Server {
    stream: DuplexStream,
    next: u8,
}

impl Server {
    pub(in crate::checks) fn new(stream: DuplexStream) -> Self {
        Self { stream, next: 0 }
    }

    /// Whoever asks may have gone.
    async fn send(&mut self, content: &[u8]) {
        let mut packet = (content.len() as u32).to_le_bytes();
        packet[3] = self.next;
        self.next = self.next.wrapping_add(1);
        let _ = self.stream.write_all(&[&packet, content].concat()).await;
    }

    async fn receive(&mut self) -> Option<Vec<u8>> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).await.ok()?;
        assert!(head[3] == self.next || head[3] == 0, "{head:?}");
        self.next = head[3] + 1;
        let mut content = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8];
        self.stream.read_exact(&mut content).await.ok()?;
        Some(content)
    }

    /// Greets; the proof that comes back.
    async fn greet(&mut self, plugin: &str) -> Vec<u8> {
        self.send(&greeting(plugin, ALL)).await;
        let response = self.receive().await.unwrap();
        let rest = response[32..].strip_prefix(USER.as_bytes()).unwrap();
        let rest = rest.strip_prefix(b"\0").unwrap();
        let (proof, rest) = rest[1..].split_at(usize::from(rest[0]));
        let known = if plugin == SHA2 { SHA2 } else { NATIVE };
        assert_eq!(rest.strip_suffix(b"\0"), Some(known.as_bytes()));
        proof.to_vec()
    }

    /// Lets in who knows the password, takes the command and answers it with these packets.
    pub(in crate::checks) async fn serve(mut self, command: &str, answer: &[&[u8]]) {
        let proof = self.greet(NATIVE).await;
        if !is_native_proof(&proof, &NONCE) {
            return self.send(DENIED).await;
        }
        self.send(OK_PACKET).await;
        self.answer(command, answer).await;
    }

    async fn answer(&mut self, command: &str, answer: &[&[u8]]) {
        let asked = self.receive().await.unwrap();
        assert_eq!(asked, [b"\x03", command.as_bytes()].concat());
        for packet in answer {
            self.send(packet).await;
        }
        if let Some(last) = self.receive().await {
            assert_eq!(last, [wire::QUIT]);
        }
    }
}

fn greeting(plugin: &str, capabilities: u32) -> Vec<u8> {
    let [c0, c1, c2, c3] = capabilities.to_le_bytes();
    [
        b"\x0a8.0.30\0\x07\0\0\0",
        &NONCE[..8],
        &[0, c0, c1, 45, 2, 0, c2, c3, 21],
        &[0; 10],
        &NONCE[8..],
        b"\0",
        plugin.as_bytes(),
        b"\0",
    ]
    .concat()
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}

/// As a server does it, which has the hash of the hash of the password.
fn is_native_proof(proof: &[u8], nonce: &[u8]) -> bool {
    let known = Sha1::digest(Sha1::digest(PASSWORD));
    let once = xor(proof, &Sha1::digest([nonce, &known[..]].concat()));
    Sha1::digest(once) == known
}

fn is_sha2_proof(proof: &[u8], nonce: &[u8]) -> bool {
    let known = Sha256::digest(Sha256::digest(PASSWORD));
    let once = xor(proof, &Sha256::digest([&known[..], nonce].concat()));
    Sha256::digest(once) == known
}

/// A row of two values.
fn row(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [text(name), text(value)].concat()
}

/// The packets of an answer of two columns.
pub(in crate::checks) fn rows(name: &str, value: &str) -> Vec<Vec<u8>> {
    let column = b"\x03def\0\0\0\x01c\0\x0c\x2d\0\x01\0\0\0\xfd\0\0\0\0\0".to_vec();
    let head = [vec![2], column.clone(), column, END_PACKET.to_vec()];
    head.into_iter().chain([row(name, value), END_PACKET.to_vec()]).collect()
}

/// What is found of somebody who behaves like this.
async fn check<F: Future<Output = ()>>(
    password: &str,
    command: &str,
    serve: impl FnOnce(Server) -> F,
) -> (Finding, String) {
    let (client, server) = duplex(1 << 20);
    let found = ask(Box::new(client), USER, password, command);
    let ((finding, reason), ()) = tokio::join!(found, serve(Server::new(server)));
    for secret in [USER, PASSWORD, "s3cret", COMMAND, "x-ray"] {
        assert!(!reason.contains(secret), "{reason}");
    }
    (finding, reason.into_owned())
}

/// The same where all goes well before the answer to the command.
async fn check_answer(command: &str, answer: &[&[u8]]) -> (Finding, String) {
    check(PASSWORD, command, |server| server.serve(command, answer)).await
}

/// The same of somebody who says this and nothing more, whatever is asked.
async fn check_script(packets: &[Vec<u8>]) -> (Finding, String) {
    check(PASSWORD, COMMAND, async |mut server| {
        let mut is_logged_in = false;
        for packet in packets {
            server.send(packet).await;
            is_logged_in |= packet == OK_PACKET;
            server.next = match is_logged_in {
                // The command begins anew, and what answers it comes in a row.
                true if packet == OK_PACKET => 1,
                true => server.next,
                // They take turns.
                false => server.next.wrapping_add(1),
            };
        }
        let _ = server.stream.shutdown().await;
        let _ = server.stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

fn refused(reason: &str) -> (Finding, String) {
    (Finding::Refused, reason.to_owned())
}

fn failed(reason: &str) -> (Finding, String) {
    (Finding::Failed, reason.to_owned())
}

fn passed() -> (Finding, String) {
    (Finding::Passed, "the command was answered".to_owned())
}

const GARBAGE: &str = "it does not speak MySQL";

#[tokio::test]
async fn who_answers_the_command_passes() {
    let packets = rows("a", "b");
    let packets: Vec<&[u8]> = packets.iter().map(|packet| &**packet).collect();
    assert_eq!(check_answer(COMMAND, &packets).await, passed());
    let without_rows = [&packets[..4], &[END_PACKET]].concat();
    assert_eq!(check_answer(COMMAND, &without_rows).await, passed());
    assert_eq!(check_answer(COMMAND, &[OK_PACKET]).await, passed());
}

#[tokio::test]
async fn who_says_no_fails_at_once() {
    let error = b"\xff\x7a\x04#42S02Table 'x-ray' doesn't exist".as_slice();
    assert_eq!(check_answer(COMMAND, &[error]).await, refused("error 1146 (42S02)"));
    let denied = check("another", COMMAND, |server| server.serve(COMMAND, &[])).await;
    assert_eq!(denied, refused("error 1045 (28000)"));
    // In place of the greeting there is no state.
    let full = b"\xff\x10\x04Too many connections".to_vec();
    assert_eq!(check_script(&[full]).await, refused("error 1040"));
    // In the place of the first row.
    let late = rows("a", "b");
    let late: Vec<&[u8]> = late.iter().take(4).map(|packet| &**packet).chain([error]).collect();
    assert_eq!(check_answer(COMMAND, &late).await, refused("error 1146 (42S02)"));
}

#[tokio::test]
async fn a_replica_fails_where_the_command_asks_for_it() {
    let answer = async |command: &str, name: &str, value: &str| {
        let packets = rows(name, value);
        let packets: Vec<&[u8]> = packets.iter().map(|packet| &**packet).collect();
        check_answer(command, &packets).await
    };
    assert_eq!(answer(IS_READ_ONLY, "read_only", "ON").await, failed("the server is read-only"));
    assert_eq!(answer(IS_READ_ONLY, "read_only", "OFF").await, passed());
    // Another command may say what it likes.
    assert_eq!(answer("show global variables", "read_only", "ON").await, passed());
    let silent: Vec<Vec<u8>> = rows("a", "b").drain(..4).chain([END_PACKET.to_vec()]).collect();
    let silent: Vec<&[u8]> = silent.iter().map(|packet| &**packet).collect();
    let (finding, _) = check_answer(IS_READ_ONLY, &silent).await;
    assert_eq!(finding, Finding::Refused);
}

#[tokio::test]
async fn a_server_that_remembers_the_password_needs_no_more_than_a_proof() {
    let found = check(PASSWORD, COMMAND, async |mut server| {
        let proof = server.greet(SHA2).await;
        assert!(is_sha2_proof(&proof, &NONCE));
        server.send(&[1, 3]).await;
        server.send(OK_PACKET).await;
        server.answer(COMMAND, &[OK_PACKET]).await;
    });
    assert_eq!(found.await, passed());
}

#[tokio::test]
async fn a_server_may_ask_for_another_proof() {
    let nonce = b"01234567890123456789";
    for (first, second) in [(SHA2, NATIVE), (NATIVE, SHA2), ("sha256_password", NATIVE)] {
        let found = check(PASSWORD, COMMAND, async |mut server| {
            server.greet(first).await;
            let request = [b"\xfe", second.as_bytes(), b"\0", nonce, b"\0"].concat();
            server.send(&request).await;
            let proof = server.receive().await.unwrap();
            assert!(match second {
                NATIVE => is_native_proof(&proof, nonce),
                _ => is_sha2_proof(&proof, nonce),
            });
            server.send(OK_PACKET).await;
            server.answer(COMMAND, &[OK_PACKET]).await;
        });
        assert_eq!(found.await, passed());
    }
    for (request, finding) in [
        (b"\xfemysql_clear_password\0".to_vec(), Finding::Refused),
        (b"\xfeed25519\0abc".to_vec(), Finding::Refused),
        (b"\xfe".to_vec(), Finding::Refused),
        (b"\xfemysql_native_password\0short".to_vec(), Finding::Failed),
    ] {
        let found = check_script(&[greeting(NATIVE, ALL), request]).await;
        assert_eq!(found.0, finding, "{found:?}");
    }
}

#[tokio::test]
async fn no_password_needs_no_proof() {
    let found = check("", COMMAND, async |mut server| {
        assert_eq!(server.greet(SHA2).await, b"");
        server.send(OK_PACKET).await;
        server.answer(COMMAND, &[OK_PACKET]).await;
    });
    assert_eq!(found.await, passed());
}

/// A key of 1,024 bits, and the exponent that only its server has.
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDIR5OtLGjI4JRqhbnK/Cn0W8rP
t+6E2R3o199q5nBcClCBrTPTqJUKEAnzOksGssF1lfJ7FdegxSUHjtRpqr1tbX9O
BQTN9XGjaKY7KKvbjv8sv2yKIUcDQMdB4IUS2v1JR2S4iT7U5Zyu6WzDlyh0fgAB
3RnL2ntuC5HOeS6tGwIDAQAB
-----END PUBLIC KEY-----
";
const MODULUS: &str = "c84793ad2c68c8e0946a85b9cafc29f45bcacfb7ee84d91de8d7df6ae6705c0a5081ad\
    33d3a8950a1009f33a4b06b2c17595f27b15d7a0c525078ed469aabd6d6d7f4e0504cdf571a368a63b28abdb8eff\
    2cbf6c8a21470340c741e08512dafd494764b8893ed4e59caee96cc39728747e0001dd19cbda7b6e0b91ce792ead\
    1b";
const SECRET: &str = "97b921b6df1dc28fdfdf92cedd678aa103a8f113762e4e0cca883f48cca9f2101e4d1ed9\
    544f32191d6d6c458cf0d61a98e9af786f639af7bec5aafe5fce69115406f914e24541c995a1baca11d67d949de0\
    2acacbfacf945659e91ddb343294fd36d3c623b51336cca7b8163a633e8332bee2590d26c8e5570231a0c62f201";

/// As the server opens it: RSA, then OAEP, then the nonce.
fn open(sealed: &[u8]) -> Vec<u8> {
    let number = |text: &str| BigUint::parse_bytes(text.as_bytes(), 16).unwrap();
    let padded = BigUint::from_bytes_be(sealed).modpow(&number(SECRET), &number(MODULUS));
    let mut padded = padded.to_bytes_be();
    while padded.len() < 127 {
        padded.insert(0, 0);
    }
    let mask = |seed: &[u8], length: usize| -> Vec<u8> {
        let blocks = (0..).map(|n: u32| Sha1::digest([seed, &n.to_be_bytes()].concat()));
        blocks.flatten().take(length).collect()
    };
    let (seed, data) = padded.split_at(20);
    let seed = xor(seed, &mask(data, 20));
    let data = xor(data, &mask(&seed, data.len()));
    let rest = data.strip_prefix(&Sha1::digest([])[..]).expect("the hash of no label");
    let start = rest.iter().position(|byte| *byte == 1).unwrap();
    let nonce: Vec<u8> = NONCE.iter().copied().cycle().take(rest.len()).collect();
    xor(&rest[start + 1..], &nonce)
}

#[tokio::test]
async fn a_server_that_forgot_the_password_sees_it_sealed() {
    let found = check(PASSWORD, COMMAND, async |mut server| {
        server.greet(SHA2).await;
        server.send(&[1, 4]).await;
        assert_eq!(server.receive().await.unwrap(), [2]);
        server.send(&[b"\x01", PUBLIC.as_bytes()].concat()).await;
        let sealed = server.receive().await.unwrap();
        assert_eq!(open(&sealed), [PASSWORD.as_bytes(), b"\0"].concat());
        server.send(OK_PACKET).await;
        server.answer(COMMAND, &[OK_PACKET]).await;
    });
    assert_eq!(found.await, passed());
    // Nobody gets it who was not asked for a key, or has none that is good.
    let unasked = [b"\x01", PUBLIC.as_bytes()].concat();
    assert_eq!(check_script(&[greeting(SHA2, ALL), unasked]).await, failed(GARBAGE));
    let long = "x".repeat(1_024 / 8 - 42);
    assert!(matches!(key::seal(&long, &NONCE, PUBLIC.as_bytes()), Err(End::Refused(_))));
    assert!(key::seal(&long[1..], &NONCE, PUBLIC.as_bytes()).is_err());
    assert!(key::seal(&long[2..], &NONCE, PUBLIC.as_bytes()).is_ok());
}

#[tokio::test]
async fn who_speaks_something_else_fails() {
    let old = greeting(NATIVE, ALL & !(1 << 15));
    let greeted = || vec![greeting(NATIVE, ALL), OK_PACKET.to_vec()];
    let columns = |count: &[u8]| greeted().into_iter().chain([count.to_vec()]).collect();
    let scripts: Vec<Vec<Vec<u8>>> = vec![
        vec![b"".to_vec()],
        vec![b"\x09".to_vec()],
        vec![old],
        vec![greeting(NATIVE, ALL), vec![]],
        vec![greeting(SHA2, ALL), vec![1]],
        vec![greeting(SHA2, ALL), vec![1, 5]],
        // It wants a file of ours.
        columns(b"\xfb/etc/passwd"),
        columns(b""),
        // So many columns that nobody has room for them.
        columns(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        columns(&[0xfd, 0, 0, 1]),
        columns(&[0xfc, 1]),
    ];
    for script in scripts {
        assert_eq!(check_script(&script).await, failed(GARBAGE), "{script:?}");
    }
    let web = check(PASSWORD, COMMAND, async |mut server| {
        let _ = server.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    assert_eq!(web.await, failed(GARBAGE));
    assert_eq!(check_script(&[]).await, failed("unexpected end of file"));
}

#[tokio::test]
async fn what_is_read_is_bounded() {
    // Not even a buffer of that size is made.
    let found = check(PASSWORD, COMMAND, async |mut server| {
        let _ = server.stream.write_all(&[0xff, 0xff, 0xff, 0]).await;
    });
    assert_eq!(found.await, failed("it says more than 64 KiB"));
    let found = check(PASSWORD, COMMAND, async |mut server| {
        server.greet(NATIVE).await;
        server.send(OK_PACKET).await;
        server.receive().await;
        server.send(&[0xfc, 0xff, 0x0f]).await;
        for _ in 0..4_095 {
            server.send(&[3; 100]).await;
        }
    });
    assert_eq!(found.await, failed("it says more than 64 KiB"));
    // Nor does a login go on for ever.
    let again = [b"\xfe", NATIVE.as_bytes(), b"\0", &NONCE, b"\0"].concat();
    let again = [vec![greeting(NATIVE, ALL)], vec![again; 100]].concat();
    assert_eq!(check_script(&again).await, failed(GARBAGE));
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #[test]
    fn nothing_that_is_said_panics(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
        known in 0..4_usize,
    ) {
        let known = [
            vec![],
            vec![greeting(NATIVE, ALL)],
            vec![greeting(SHA2, ALL), vec![1, 4]],
            vec![greeting(NATIVE, ALL), OK_PACKET.to_vec()],
        ][known].clone();
        let (finding, _) = run(check_script(&[known, packets].concat()));
        prop_assert!(finding != Finding::NotMade);
    }

    #[test]
    fn no_greeting_panics(cut in 0..80_usize, at in 0..80_usize, byte in any::<u8>()) {
        let mut bytes = greeting(SHA2, ALL);
        if let Some(found) = bytes.get_mut(at) {
            *found = byte;
        }
        bytes.truncate(cut);
        run(check_script(&[bytes]));
    }

    #[test]
    fn no_key_panics(at in 0..200_usize, bytes in prop::collection::vec(any::<u8>(), 1..6)) {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let body: String = PUBLIC.lines().filter(|line| !line.starts_with('-')).collect();
        let mut der = STANDARD.decode(body).unwrap();
        let end = der.len().min(at + bytes.len());
        der.splice(at.min(end)..end, bytes);
        let body = STANDARD.encode(der);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
        let _ = key::seal(PASSWORD, &NONCE, pem.as_bytes());
    }
}
