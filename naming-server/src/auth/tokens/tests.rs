use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn key(seed: u8) -> TokenKey {
    let bytes: Vec<u8> = (0..32).map(|n| n ^ seed).collect();
    TokenKey::parse(&BASE64_STANDARD.encode(bytes)).unwrap()
}

fn keys(seed: u8) -> TokenKeys {
    TokenKeys { signing: key(seed), previous: None }
}

/// Takes what Nacos issues, too.
fn tokens() -> Tokens {
    Tokens::new(&keys(1), HOUR, true)
}

/// Of one user with this hash.
fn users(user: &str, hash: &str) -> AccountsView {
    AccountsView::of_users(&[(user, hash)])
}

/// Of the user whom most tokens here are for.
fn nacos() -> AccountsView {
    users("nacos", "hash")
}

/// A token with any header and claims, signed as HS256 with this key.
fn forge(key: &TokenKey, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let code = HmacSha256::new(key.as_bytes()).unwrap().try_sign(message.as_bytes()).unwrap();
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(code))
}

fn claims(user: &str) -> Value {
    json!({ "sub": user, "exp": now_s() + 3_600 })
}

#[test]
fn a_token_is_read_as_it_was_issued_again_and_again() {
    let (tokens, users) = (tokens(), users("Ünïcode \"x\"", "hash"));
    let token = tokens.issue("Ünïcode \"x\"", "hash").unwrap();
    for _ in 0..3 {
        assert_eq!(&*tokens.read(&token, &users).unwrap(), "Ünïcode \"x\"");
    }
    assert_eq!(tokens.known.len(), 1);
    // Another member with the same key.
    let other = Tokens::new(&keys(1), HOUR, false);
    assert_eq!(&*other.read(&token, &users).unwrap(), "Ünïcode \"x\"");
}

#[test]
fn tokens_of_nacos_are_read_where_they_are_taken() {
    // Its library writes the header without a type.
    let token = forge(&key(1), &json!({ "alg": "HS256" }), &claims("nacos"));
    let tokens = tokens();
    for _ in 0..2 {
        assert_eq!(&*tokens.read(&token, &nacos()).unwrap(), "nacos");
    }
    let strict = Tokens::new(&keys(1), HOUR, false);
    for _ in 0..2 {
        assert_eq!(strict.read(&token, &nacos()), Err(Refusal::TokenUnversioned));
    }
    let odd = json!({ "sub": "nacos", "exp": now_s() + 60, "ver": 7 });
    let odd = forge(&key(1), &json!({ "alg": "HS256" }), &odd);
    assert_eq!(strict.read(&odd, &nacos()), Err(Refusal::TokenInvalid));
}

#[test]
fn a_token_ends_with_the_password_it_was_given_for() {
    let tokens = tokens();
    let token = tokens.issue("nacos", "hash").unwrap();
    // Remembered and read for the first time alike; on other members, too.
    for tokens in [&tokens, &Tokens::new(&keys(1), HOUR, true)] {
        assert_eq!(&*tokens.read(&token, &nacos()).unwrap(), "nacos");
        assert_eq!(tokens.read(&token, &users("nacos", "other")), Err(Refusal::TokenExpired));
    }
    let fresh = Tokens::new(&keys(1), HOUR, true);
    assert_eq!(fresh.read(&token, &users("nacos", "other")), Err(Refusal::TokenExpired));
    assert_eq!(&*fresh.read(&token, &nacos()).unwrap(), "nacos");
    // Who was deleted may do nothing, and is not remembered for the next of that name.
    let nobody = AccountsView::default();
    let fresh = Tokens::new(&keys(1), HOUR, true);
    assert_eq!(&*fresh.read(&token, &nobody).unwrap(), "nacos");
    assert_eq!(fresh.read(&token, &users("nacos", "other")), Err(Refusal::TokenExpired));
}

#[test]
fn a_version_tells_users_apart_and_nothing_of_the_hash() {
    let tokens = tokens().signing;
    assert_eq!(tokens.version("u", "hash"), tokens.version("u", "hash"));
    assert_ne!(tokens.version("u", "hash"), tokens.version("uh", "ash"));
    // Whoever reads a token has no other key.
    let other = Tokens::new(&keys(2), HOUR, true).signing;
    assert_ne!(tokens.version("u", "hash"), other.version("u", "hash"));
    assert_eq!(tokens.version("u", "hash").len(), 22);
}

#[test]
fn a_token_of_another_key_is_worth_nothing() {
    let token = Tokens::new(&keys(2), HOUR, true).issue("nacos", "hash").unwrap();
    assert_eq!(tokens().read(&token, &nacos()), Err(Refusal::TokenInvalid));
}

#[test]
fn no_other_algorithm_is_taken_whatever_it_was_signed_with() {
    let claims = claims("nacos");
    for algorithm in
        ["none", "None", "NONE", "nOnE", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256", ""]
    {
        let token = forge(&key(1), &json!({ "alg": algorithm, "typ": "JWT" }), &claims);
        assert_eq!(tokens().read(&token, &nacos()), Err(Refusal::TokenInvalid), "{algorithm}");
        let (message, _) = token.rsplit_once('.').unwrap();
        for unsigned in [format!("{message}."), message.to_owned(), format!("{message}.AA")] {
            assert_eq!(
                tokens().read(&unsigned, &nacos()),
                Err(Refusal::TokenInvalid),
                "{algorithm}"
            );
        }
    }
    let keys = json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": "AA" }, "kid": "../../x" });
    let token = forge(&key(2), &keys, &claims);
    assert_eq!(tokens().read(&token, &nacos()), Err(Refusal::TokenInvalid));
}

#[test]
fn a_token_ends_when_it_says_so() {
    let header = json!({ "alg": "HS256" });
    let expired = |exp: Value| forge(&key(1), &header, &json!({ "sub": "nacos", "exp": exp }));
    let tokens = tokens();
    assert_eq!(tokens.read(&expired(json!(now_s() - 1)), &nacos()), Err(Refusal::TokenExpired));
    assert_eq!(tokens.read(&expired(json!(0)), &nacos()), Err(Refusal::TokenExpired));
    for odd in [json!(null), json!("x"), json!([]), json!(-1)] {
        assert!(tokens.read(&expired(odd.clone()), &nacos()).is_err(), "{odd}");
    }
    let for_ever = forge(&key(1), &header, &json!({ "sub": "nacos" }));
    assert_eq!(tokens.read(&for_ever, &nacos()), Err(Refusal::TokenInvalid));
    let nobody = forge(&key(1), &header, &json!({ "exp": now_s() + 60 }));
    assert_eq!(tokens.read(&nobody, &nacos()), Err(Refusal::TokenInvalid));
}

#[test]
fn a_remembered_token_ends_too() {
    let tokens = tokens();
    let token = tokens.issue("nacos", "hash").unwrap();
    tokens.read(&token, &nacos()).unwrap();
    tokens.known.get_mut(&*token).unwrap().expires_s = now_s();
    assert_eq!(tokens.read(&token, &nacos()), Err(Refusal::TokenExpired));
}

#[test]
fn no_byte_of_a_token_can_be_changed() {
    let tokens = tokens();
    let token = tokens.issue("nacos", "hash").unwrap();
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert_eq!(tokens.read(&changed, &nacos()), Err(Refusal::TokenInvalid), "{at}: {changed}");
    }
    for more in [format!("{token}A"), format!("{token}."), format!(".{token}"), format!("{token} ")]
    {
        assert_eq!(tokens.read(&more, &nacos()), Err(Refusal::TokenInvalid), "{more}");
    }
}

#[test]
fn what_is_no_token_is_refused() {
    for odd in ["", ".", "..", "...", "a.b.c", "garbage", "\u{0}", "e30.e30.", "ü.ü.ü"] {
        assert_eq!(tokens().read(odd, &nacos()), Err(Refusal::TokenInvalid), "{odd:?}");
    }
    let long = tokens().issue(&"x".repeat(MAX_TOKEN), "hash").unwrap();
    assert_eq!(tokens().read(&long, &nacos()), Err(Refusal::TokenInvalid));
}

#[test]
fn tokens_that_are_remembered_do_not_grow_without_end() {
    let tokens = tokens();
    let known = |expires_s| Known { user: "u".into(), expires_s, hash: None };
    for n in 0..MAX_TOKENS {
        tokens.remember(&n.to_string(), known(now_s() + u64::from(n % 2 == 0) * 60));
    }
    assert_eq!(tokens.known.len(), MAX_TOKENS);
    tokens.remember("one more", known(now_s() + 60));
    assert_eq!(tokens.known.len(), MAX_TOKENS / 2 + 1);
    let name = "x".repeat(MAX_REMEMBERED);
    let long = tokens.issue(&name, "hash").unwrap();
    tokens.read(&long, &users(&name, "hash")).unwrap();
    assert!(!tokens.known.contains_key(&*long));
}

#[test]
fn a_worthless_token_looks_like_all_others_and_is_good_for_nothing() {
    let [one, other] = [(); 2].map(|()| worthless_token("nacos", HOUR).unwrap());
    assert_ne!(one, other, "each has a key of its own");
    assert_eq!(one.split('.').count(), 3);
    assert_eq!(tokens().read(&one, &nacos()), Err(Refusal::TokenInvalid));
}

#[test]
fn tokens_of_the_key_before_are_taken_as_long_as_it_is_named() {
    let (old, users) = (Tokens::new(&keys(1), HOUR, false), nacos());
    let token = old.issue("nacos", "hash").unwrap();
    let both = TokenKeys { signing: key(2), previous: Some(key(1)) };
    let both = Tokens::new(&both, HOUR, false);
    for _ in 0..2 {
        assert_eq!(&*both.read(&token, &users).unwrap(), "nacos");
    }
    assert_eq!(both.read(&token, &self::users("nacos", "other")), Err(Refusal::TokenExpired));
    let fresh = both.issue("nacos", "hash").unwrap();
    assert_eq!(old.read(&fresh, &users), Err(Refusal::TokenInvalid), "it is signed by the new key");
    let new = Tokens::new(&keys(2), HOUR, false);
    assert_eq!(&*new.read(&fresh, &users).unwrap(), "nacos");
    assert_eq!(new.read(&token, &users), Err(Refusal::TokenInvalid));
}
