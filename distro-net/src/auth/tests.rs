use proptest::collection::vec;
use proptest::prelude::*;

use super::super::seal_reply;
use super::*;
use crate::codec::MINOR;

fn identity(member: u32) -> Identity {
    Identity {
        cluster: "one".into(),
        member: MemberId(member),
        incarnation: member * 10,
        secret: Secret::of(b"the secret of this test"),
    }
}

fn at(ms: u64) -> Now {
    Now { tick: Tick::from_ms(ms), wall_ms: 1_700_000_000_000 + ms }
}

/// The hello of member 1 to member 2, its bytes and sealed.
fn hello(from: &Identity) -> (Vec<u8>, Bytes) {
    let body = CallerSession::hello(from, MemberId(2), 5).unwrap();
    let sealed = Hello::seal(&from.secret, &body);
    (body, sealed.into())
}

fn meet(sessions: &Sessions, now: Now) -> CallerSession {
    let (body, sealed) = hello(&identity(1));
    let (welcome, _) = sessions.begin(&sealed, &identity(2), now).unwrap();
    CallerSession::begin(&identity(1).secret, &body, &welcome.into()).unwrap()
}

#[test]
fn requests_and_replies_pass_between_members_that_share_the_secret() {
    let sessions = Sessions::default();
    let mut caller = meet(&sessions, at(0));
    assert_eq!(caller.wall_ms, at(0).wall_ms);
    for text in [&b"first"[..], b"", b"third"] {
        let opened = sessions.open(caller.seal(text, Tick::ZERO).into(), at(1).tick).unwrap();
        assert_eq!(opened.sender, Sender { member: MemberId(1), incarnation: 10, minor: MINOR });
        assert_eq!(&*opened.message, text);
        let reply = seal_reply(&opened.key, opened.counter, b"answer");
        assert_eq!(&*caller.open(reply.into()).unwrap(), b"answer");
    }
}

#[test]
fn who_does_not_belong_is_refused_by_reason() {
    let sessions = Sessions::default();
    let refused = |from: Identity| {
        sessions.begin(&hello(&from).1, &identity(2), at(0)).map(|_| ()).unwrap_err()
    };
    let secret = Secret::of(b"another secret than that");
    assert_eq!(refused(Identity { secret, ..identity(1) }), Refusal::WrongSecret);
    let cluster = "two".to_owned();
    assert_eq!(refused(Identity { cluster, ..identity(1) }), Refusal::OtherCluster);
    assert_eq!(refused(identity(2)), Refusal::SameMember);
    let elsewhere = sessions.begin(&hello(&identity(1)).1, &identity(3), at(0));
    assert_eq!(elsewhere.map(|_| ()).unwrap_err(), Refusal::OtherMember);
    assert_eq!(sessions.len(), 0, "nothing is kept for the refused");
}

#[test]
fn another_major_version_is_refused_and_additions_of_a_newer_minor_are_not() {
    let sessions = Sessions::default();
    let from = identity(1);
    let mut newer = Hello::new(&from, MemberId(2), [7; 32], 5);
    newer.minor = 9;
    let mut body = newer.encode_to_vec();
    body.extend_from_slice(&[0x98, 0x06, 0x07]);
    let sealed = Hello::seal(&from.secret, &body).into();
    let (welcome, _) = sessions.begin(&sealed, &identity(2), at(0)).unwrap();
    let mut caller = CallerSession::begin(&from.secret, &body, &welcome.into()).unwrap();
    assert!(sessions.open(caller.seal(b"x", Tick::ZERO).into(), at(0).tick).is_ok());

    let other = Hello { major: 2, ..newer }.encode_to_vec();
    let refused = sessions.begin(&Hello::seal(&from.secret, &other).into(), &identity(2), at(0));
    assert_eq!(refused.map(|_| ()).unwrap_err(), Refusal::OtherVersion);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Part of the protocol: members of different releases must come to the same codes.
#[test]
fn the_codes_of_version_1_0_never_change() {
    let from = identity(1);
    let hello = Hello::new(&from, MemberId(2), [7; 32], 5);
    // Written out, because the minor version of later releases differs.
    let body = Hello { major: 1, minor: 0, ..hello }.encode_to_vec();
    assert_eq!(hex(&Hello::seal(&from.secret, &body)), HELLO);
    let welcome = Welcome {
        major: 1,
        minor: 0,
        session: 0x0102_0304_0506_0708,
        nonce: Bytes::from_static(&[9; 32]),
        incarnation: 20,
        wall_ms: 6,
    };
    let welcome = Bytes::from(Welcome::seal(&from.secret, &body, &welcome.encode_to_vec()));
    assert_eq!(hex(&welcome), WELCOME);
    let mut caller = CallerSession::begin(&from.secret, &body, &welcome).unwrap();
    assert_eq!(hex(&caller.seal(b"request", Tick::ZERO)), REQUEST);
    assert_eq!(hex(&seal_reply(&caller.key, 1, b"reply")), REPLY);
}

const HELLO: &str = "\
    be36f7187f989b241395afc31135157f65aae932c3fc59f4493be08e37f75eed08011a036f6e652501000000\
    2d02000000350a0000003a200707070707070707070707070707070707070707070707070707070707070707\
    4005";
const WELCOME: &str = "\
    6a5161a9f6aaa124db7489aee7de340c875830a3c24f9c1568a6a5ce39a12ba0080119080706050403020122\
    2009090909090909090909090909090909090909090909090909090909090909092d140000003006";
const REQUEST: &str = "\
    08070605040302010100000000000000dcf1bc44cceeaed56e501bf14664f889c2129814f396e0ae08ceea0a\
    c6baa18972657175657374";
const REPLY: &str = "\
    9bb10a8a63c7b09f76a750b940549445c937b6b87cb61c1e5cbb354fbde4c9167265706c79";

#[test]
fn a_welcome_of_somebody_else_or_for_another_hello_is_refused() {
    let sessions = Sessions::default();
    let ((first, sealed), (second, _)) = (hello(&identity(1)), hello(&identity(1)));
    let (welcome, _) = sessions.begin(&sealed, &identity(2), at(0)).unwrap();
    let welcome = Bytes::from(welcome);
    let other = Secret::of(b"another secret than that");
    let begin = |secret: &Secret, hello: &[u8]| {
        CallerSession::begin(secret, hello, &welcome).map(|_| ()).unwrap_err()
    };
    assert_eq!(begin(&other, &first), Refusal::WrongSecret);
    assert_eq!(begin(&identity(1).secret, &second), Refusal::WrongSecret);
}

#[test]
fn replayed_and_reordered_requests_are_refused() {
    let sessions = Sessions::default();
    let mut caller = meet(&sessions, at(0));
    let [first, second]: [Bytes; 2] =
        [caller.seal(b"1", Tick::ZERO).into(), caller.seal(b"2", Tick::ZERO).into()];
    let open = |sealed: &Bytes| sessions.open(sealed.clone(), at(1).tick).map(|_| ());
    assert_eq!(open(&second), Ok(()));
    assert_eq!(open(&second), Err(Refusal::Replayed));
    assert_eq!(open(&first), Err(Refusal::Replayed));
}

#[test]
fn a_request_says_how_long_ago_it_was_put_together() {
    let sessions = Sessions::default();
    // The caller has been there for a day already.
    let own = |ms: u64| Tick::from_ms(86_400_000 + ms);
    let mut caller = meet(&sessions, at(5_000)).asked_for_at(own(0));
    let mut open = |as_of: Tick, now_ms| {
        let opened = sessions.open(caller.seal(b"x", as_of).into(), at(now_ms).tick).unwrap();
        assert_eq!(&*opened.message, b"x");
        opened.in_transit
    };
    assert_eq!(open(own(1_000), 6_000), Duration::ZERO);
    let took = open(own(2_000), 72_000);
    assert!(took > Duration::from_millis(64_900) && took <= Duration::from_secs(65), "{took:?}");
    // It was put together before there was a session to send it in.
    let took = open(Tick::from_ms(86_399_000), 72_500);
    assert!(took > Duration::from_secs(68), "{took:?}");
}

#[test]
fn a_member_of_1_3_neither_says_nor_is_told_how_long_ago_that_was() {
    let (sessions, from) = (Sessions::default(), identity(1));
    let hello = Hello { minor: 3, ..Hello::new(&from, MemberId(2), [7; 32], 5) }.encode_to_vec();
    let sealed = Hello::seal(&from.secret, &hello).into();
    let (welcome, _) = sessions.begin(&sealed, &identity(2), at(0)).unwrap();
    let mut caller = CallerSession::begin(&from.secret, &hello, &welcome.into()).unwrap();
    caller.minor = 3;
    let opened = sessions.open(caller.seal(b"x", Tick::ZERO).into(), at(90_000).tick).unwrap();
    assert_eq!((&*opened.message, opened.in_transit), (&b"x"[..], Duration::ZERO));
}

#[test]
fn a_request_without_a_date_is_refused() {
    let sessions = Sessions::default();
    let caller = meet(&sessions, at(0));
    let sealed = seal_request(&caller.key, caller.id, 1, b"7 bytes");
    assert_eq!(sessions.open(sealed.into(), at(1).tick).unwrap_err(), Refusal::Malformed);
}

#[test]
fn a_request_of_one_session_is_worth_nothing_in_another() {
    let sessions = Sessions::default();
    let (mut one, two) = (meet(&sessions, at(0)), meet(&sessions, at(0)));
    let mut stolen = one.seal(b"1", Tick::ZERO);
    stolen[..8].copy_from_slice(&two.id.to_le_bytes());
    assert_eq!(sessions.open(stolen.into(), at(1).tick).unwrap_err(), Refusal::WrongSecret);
}

#[test]
fn a_refused_request_does_not_use_up_its_counter() {
    let sessions = Sessions::default();
    let mut caller = meet(&sessions, at(0));
    let good = caller.seal(b"1", Tick::ZERO);
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    assert_eq!(sessions.open(bad.into(), at(1).tick).unwrap_err(), Refusal::WrongSecret);
    assert!(sessions.open(good.into(), at(1).tick).is_ok());
}

#[test]
fn a_reply_to_another_request_is_refused() {
    let sessions = Sessions::default();
    let mut caller = meet(&sessions, at(0));
    let opened = sessions.open(caller.seal(b"1", Tick::ZERO).into(), at(1).tick).unwrap();
    let late = Bytes::from(seal_reply(&opened.key, opened.counter, b"late"));
    caller.seal(b"2", Tick::ZERO);
    assert_eq!(caller.open(late).unwrap_err(), Refusal::WrongSecret);
    assert_eq!(caller.open(Bytes::from_static(b"short")).unwrap_err(), Refusal::Malformed);
}

/// A session that has proved that its caller knows the secret.
fn prove(sessions: &Sessions, now: Now) -> CallerSession {
    let mut session = meet(sessions, now);
    assert!(sessions.open(session.seal(b"", Tick::ZERO).into(), now.tick).is_ok());
    session
}

#[test]
fn idle_sessions_are_forgotten_and_recorded_hellos_drive_nobody_out() {
    let sessions = Sessions::default();
    // As many as a member may have.
    let mut working: Vec<_> =
        (0..SESSIONS_PER_MEMBER as u64).map(|n| prove(&sessions, at(n))).collect();
    let (_, recorded) = hello(&identity(1));
    for n in 0..1_000 {
        sessions.begin(&recorded, &identity(2), at(100 + n)).unwrap();
    }
    assert_eq!(sessions.len(), 2 * SESSIONS_PER_MEMBER);
    for session in &mut working {
        assert!(sessions.open(session.seal(b"", Tick::ZERO).into(), at(2_000).tick).is_ok());
    }
    // Those that proved nothing are forgotten soon, the others when they are idle for long.
    meet(&sessions, at(30_000));
    assert_eq!(sessions.len(), SESSIONS_PER_MEMBER + 1);
    meet(&sessions, at(303_000));
    assert_eq!(sessions.len(), 1);
    let message = working[0].seal(b"", Tick::ZERO).into();
    let refused = sessions.open(message, at(303_000).tick).unwrap_err();
    assert_eq!(refused, Refusal::UnknownSession);
}

#[test]
fn a_session_that_proves_itself_takes_the_place_of_the_one_that_was_idle_longest() {
    let sessions = Sessions::default();
    let mut working: Vec<_> =
        (0..=SESSIONS_PER_MEMBER as u64).map(|n| prove(&sessions, at(n))).collect();
    assert_eq!(sessions.len(), SESSIONS_PER_MEMBER);
    let mut is_open =
        |n: usize| sessions.open(working[n].seal(b"", Tick::ZERO).into(), at(900).tick).is_ok();
    assert!(!is_open(0));
    assert!((1..=SESSIONS_PER_MEMBER).all(is_open));
}

#[test]
fn while_the_secret_is_changed_both_open_sessions_and_each_is_answered_by_itself() {
    let [old, new] = [&b"the secret of before"[..], b"the secret of tomorrow"].map(Secret::of);
    let (sessions, both) = (Sessions::default(), new.clone().with_previous(old.clone()));
    let receiver = Identity { secret: both.clone(), ..identity(2) };
    for secret in [&old, &new, &both] {
        let from = Identity { secret: secret.clone(), ..identity(1) };
        let (body, sealed) = hello(&from);
        let (welcome, _) = sessions.begin(&sealed, &receiver, at(0)).unwrap();
        let mut caller = CallerSession::begin(secret, &body, &welcome.into()).unwrap();
        assert!(sessions.open(caller.seal(b"x", Tick::ZERO).into(), at(0).tick).is_ok());
    }
    let third = Identity { secret: Secret::of(b"neither of the two"), ..identity(1) };
    let refused = sessions.begin(&hello(&third).1, &receiver, at(0)).map(|_| ()).unwrap_err();
    assert_eq!(refused, Refusal::WrongSecret);
    // When the old one is taken away, what began by it ends.
    assert!(old.is_kept_by(&both) && !both.is_kept_by(&new));
    assert!(both.is_same(&both.clone()) && !both.is_same(&new));
}

proptest! {
    #[test]
    fn random_bytes_are_refused(bytes in vec(any::<u8>(), 0..200)) {
        let sessions = Sessions::default();
        let bytes = Bytes::from(bytes);
        prop_assert!(sessions.begin(&bytes, &identity(2), at(0)).is_err());
        prop_assert!(sessions.open(bytes.clone(), at(0).tick).is_err());
        let (body, _) = hello(&identity(1));
        prop_assert!(CallerSession::begin(&identity(1).secret, &body, &bytes).is_err());
    }
}
