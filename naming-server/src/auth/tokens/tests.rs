use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn key(seed: u8) -> TokenKey {
    let bytes: Vec<u8> = (0..32).map(|n| n ^ seed).collect();
    TokenKey::parse(&BASE64_STANDARD.encode(bytes)).unwrap()
}

fn tokens() -> Tokens {
    Tokens::new(&key(1), HOUR)
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
    let tokens = tokens();
    let token = tokens.issue("Ünïcode \"x\"").unwrap();
    for _ in 0..3 {
        assert_eq!(&*tokens.read(&token).unwrap(), "Ünïcode \"x\"");
    }
    assert_eq!(tokens.known.len(), 1);
    // Another member with the same key.
    assert_eq!(&*Tokens::new(&key(1), HOUR).read(&token).unwrap(), "Ünïcode \"x\"");
}

#[test]
fn tokens_of_nacos_are_read() {
    // Its library writes the header without a type.
    let token = forge(&key(1), &json!({ "alg": "HS256" }), &claims("nacos"));
    assert_eq!(&*tokens().read(&token).unwrap(), "nacos");
}

#[test]
fn a_token_of_another_key_is_worth_nothing() {
    let token = Tokens::new(&key(2), HOUR).issue("nacos").unwrap();
    assert_eq!(tokens().read(&token), Err(Refusal::TokenInvalid));
}

#[test]
fn no_other_algorithm_is_taken_whatever_it_was_signed_with() {
    let claims = claims("nacos");
    for algorithm in
        ["none", "None", "NONE", "nOnE", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256", ""]
    {
        let token = forge(&key(1), &json!({ "alg": algorithm, "typ": "JWT" }), &claims);
        assert_eq!(tokens().read(&token), Err(Refusal::TokenInvalid), "{algorithm}");
        let (message, _) = token.rsplit_once('.').unwrap();
        for unsigned in [format!("{message}."), message.to_owned(), format!("{message}.AA")] {
            assert_eq!(tokens().read(&unsigned), Err(Refusal::TokenInvalid), "{algorithm}");
        }
    }
    let keys = json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": "AA" }, "kid": "../../x" });
    let token = forge(&key(2), &keys, &claims);
    assert_eq!(tokens().read(&token), Err(Refusal::TokenInvalid));
}

#[test]
fn a_token_ends_when_it_says_so() {
    let header = json!({ "alg": "HS256" });
    let expired = |exp: Value| forge(&key(1), &header, &json!({ "sub": "nacos", "exp": exp }));
    let tokens = tokens();
    assert_eq!(tokens.read(&expired(json!(now_s() - 1))), Err(Refusal::TokenExpired));
    assert_eq!(tokens.read(&expired(json!(0))), Err(Refusal::TokenExpired));
    for odd in [json!(null), json!("x"), json!([]), json!(-1)] {
        assert!(tokens.read(&expired(odd.clone())).is_err(), "{odd}");
    }
    let for_ever = forge(&key(1), &header, &json!({ "sub": "nacos" }));
    assert_eq!(tokens.read(&for_ever), Err(Refusal::TokenInvalid));
    let nobody = forge(&key(1), &header, &json!({ "exp": now_s() + 60 }));
    assert_eq!(tokens.read(&nobody), Err(Refusal::TokenInvalid));
}

#[test]
fn a_remembered_token_ends_too() {
    let tokens = tokens();
    let token = tokens.issue("nacos").unwrap();
    tokens.read(&token).unwrap();
    tokens.known.get_mut(&*token).unwrap().expires_s = now_s();
    assert_eq!(tokens.read(&token), Err(Refusal::TokenExpired));
}

#[test]
fn no_byte_of_a_token_can_be_changed() {
    let tokens = tokens();
    let token = tokens.issue("nacos").unwrap();
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert_eq!(tokens.read(&changed), Err(Refusal::TokenInvalid), "{at}: {changed}");
    }
    for more in [format!("{token}A"), format!("{token}."), format!(".{token}"), format!("{token} ")]
    {
        assert_eq!(tokens.read(&more), Err(Refusal::TokenInvalid), "{more}");
    }
}

#[test]
fn what_is_no_token_is_refused() {
    for odd in ["", ".", "..", "...", "a.b.c", "garbage", "\u{0}", "e30.e30.", "ü.ü.ü"] {
        assert_eq!(tokens().read(odd), Err(Refusal::TokenInvalid), "{odd:?}");
    }
    let long = tokens().issue(&"x".repeat(MAX_TOKEN)).unwrap();
    assert_eq!(tokens().read(&long), Err(Refusal::TokenInvalid));
}

#[test]
fn tokens_that_are_remembered_do_not_grow_without_end() {
    let tokens = tokens();
    let known = |expires_s| Known { user: "u".into(), expires_s };
    for n in 0..MAX_TOKENS {
        tokens.remember(&n.to_string(), known(now_s() + u64::from(n % 2 == 0) * 60));
    }
    assert_eq!(tokens.known.len(), MAX_TOKENS);
    tokens.remember("one more", known(now_s() + 60));
    assert_eq!(tokens.known.len(), MAX_TOKENS / 2 + 1);
    let long = tokens.issue(&"x".repeat(MAX_REMEMBERED)).unwrap();
    tokens.read(&long).unwrap();
    assert!(!tokens.known.contains_key(&*long));
}
