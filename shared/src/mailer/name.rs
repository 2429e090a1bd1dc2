//! Names that people chose, as mails show them: no mail program makes a link of them, and none ends the sentence it
//! stands in.
//!
//! What would be a link keeps its letters and gets brackets, `win at evil[.]example`, as those do who warn of links. So
//! nothing is hidden, nothing invisible is added, and a name that would be no link stays as it is: `Acme Inc.`, `J.R.R.
//! Tolkien`, `3.5 tons`.

/// Characters that a subject holds of a name.
const IN_SUBJECT_MAX: usize = 80;
/// Ends of domain labels: the full stop, and what IDNA takes for one (RFC 3490 §3.1).
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];
/// Schemes that are links without a `//`.
const BARE_SCHEMES: [&str; 5] = ["mailto", "tel", "sms", "facetime", "skype"];

/// `name` with brackets around what would make a link of it: the dots of domains, and the colons of schemes.
pub(super) fn unlinked(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut shown = String::with_capacity(name.len() + 8);
    for (index, c) in chars.iter().enumerate() {
        let (before, after) = (chars.get(..index), chars.get(index + 1..));
        if links(before.unwrap_or_default(), *c, after.unwrap_or_default()) {
            shown.extend(['[', *c, ']']);
        } else {
            shown.push(*c);
        }
    }
    shown
}

/// `name` within the double quotes of a plain text, which it cannot end.
pub(super) fn quoted(name: &str) -> String {
    let inner = unlinked(name).replace(is_double_quote, "'");
    format!("\"{inner}\"")
}

/// `name` as a subject may hold it: short, on one line.
pub(super) fn in_subject(name: &str) -> String {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let line: String = name
        .chars()
        .map(|c| if is_break(c) { ' ' } else { c })
        .take(IN_SUBJECT_MAX)
        .collect();
    unlinked(&line)
}

/// An e-mail address, which may be a link to itself and to nothing else: a local part that could pass for a site is
/// [`unlinked`].
pub(super) fn address(email: &str) -> String {
    match email.rsplit_once('@') {
        Some((local, domain)) if !is_plain(local) => format!("{}@{domain}", unlinked(local)),
        _ => email.to_owned(),
    }
}

fn is_plain(local: &str) -> bool {
    let is_usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '\'');
    local.chars().all(is_usual) && !local.starts_with("www.")
}

/// Whether `c` between `before` and `after` makes a link of them.
fn links(before: &[char], c: char, after: &[char]) -> bool {
    let word = || -> String {
        let letters = before.iter().rev().take_while(|c| c.is_alphanumeric());
        letters
            .collect::<String>()
            .chars()
            .rev()
            .collect::<String>()
            .to_lowercase()
    };
    let touches = |side: Option<&char>| side.is_some_and(|c| !c.is_whitespace());
    if c == ':' {
        let is_scheme = BARE_SCHEMES.contains(&word().as_str()) && touches(after.first());
        return is_scheme || after.starts_with(&['/', '/']);
    }
    // Dots of a kind in a row are none of a domain's.
    if !DOTS.contains(&c) || !touches(before.last()) || before.last() == Some(&c) {
        return false;
    }
    // A top-level domain has two letters at least; what is not seen does not part them.
    let label = after
        .iter()
        .filter(|c| !is_unseen(**c))
        .take_while(|c| c.is_alphanumeric() || **c == '-');
    let label: Vec<&char> = label.collect();
    let is_domain = label.len() >= 2 && label.iter().any(|c| c.is_alphabetic());
    is_domain || (word() == "www" && !label.is_empty())
}

fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

fn is_double_quote(c: char) -> bool {
    matches!(
        c,
        '"' | '\u{ab}' | '\u{bb}' | '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{2036}' | '\u{275d}' | '\u{275e}'
            | '\u{301d}'..='\u{301f}' | '\u{ff02}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkify::{LinkFinder, LinkKind};
    use proptest::prelude::*;

    /// What a mail program makes a link of, sites without a scheme included, and whether it is an address.
    fn links_in(text: &str) -> Vec<(bool, String)> {
        let mut finder = LinkFinder::new();
        finder.url_must_have_scheme(false);
        let links = finder.links(text);
        links
            .map(|link| (*link.kind() == LinkKind::Email, link.as_str().to_owned()))
            .collect()
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in [
            "Acme",
            "Acme Inc.",
            "Müller & Söhne GmbH",
            "J.R.R. Tolkien",
            "St. Mary's",
            "Dr. No. 7",
            "3.5 tons, v1.2",
            "10:30 Club",
            "Hotel:Berlin",
            "Sales / EMEA (U.K.)",
            "...and company",
            "北京公司",
            "R&D: east",
            "a@b",
            ".NET",
        ] {
            assert_eq!(unlinked(name), name);
            assert_eq!(in_subject(name), name);
        }
        for email in ["ann@example.com", "ann.o'hara+x_y-z@mail.example.com"] {
            assert_eq!(address(email), email);
        }
    }

    #[test]
    fn links_get_brackets_and_keep_their_letters() {
        for (name, shown) in [
            ("Win at https://evil.example", "Win at https[:]//evil[.]example"),
            ("WWW.x.example/a?b", "WWW[.]x[.]example/a?b"),
            ("www.x", "www[.]x"),
            ("http://10.0.0.1/", "http[:]//10.0.0.1/"),
            ("evil.example", "evil[.]example"),
            ("пример.рф", "пример[.]рф"),
            ("evil。example", "evil[。]example"),
            ("evil.c\u{ad}om", "evil[.]c\u{ad}om"),
            ("bob@evil.example", "bob@evil[.]example"),
            ("mailto:bob@x", "mailto[:]bob@x"),
            ("Tel:0900", "Tel[:]0900"),
        ] {
            assert_eq!(unlinked(name), shown);
        }
        assert_eq!(
            address("evil.example/win@evil.example"),
            "evil[.]example/win@evil.example"
        );
        assert_eq!(address("www.evil@evil.example"), "www[.]evil@evil.example");
    }

    #[test]
    fn a_name_ends_neither_its_quotes_nor_its_line() {
        assert_eq!(quoted("X\". Call “me” «now»"), "\"X'. Call 'me' 'now'\"");
        assert_eq!(
            in_subject("Acme\r\nBcc: eve@example.com"),
            "Acme  Bcc: eve@example[.]com"
        );
        assert_eq!(in_subject(&"x".repeat(300)).len(), IN_SUBJECT_MAX);
    }

    proptest! {
        #[test]
        fn no_name_is_a_link(parts in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![
                "https://", "HTTP", "ftp", ":", "//", "/", "www", ".", "..", "evil", "e", "example", "com", "co", "1", "-",
                "@", "mailto:", "bob", "?q=", "#", " ", "(", ")", "[", "]", "<", ">", "\"", "。", "．", "\u{200b}", "ü", "рф", "xn--",
            ]).prop_map(str::to_owned),
            "\\PC{1,3}",
        ], 0..12)) {
            let name = parts.concat();
            for shown in [unlinked(&name), quoted(&name), in_subject(&name)] {
                prop_assert_eq!(links_in(&shown), [], "{:?}", shown);
            }
            // Nothing but brackets is added, so that a person still reads what was written.
            let bare = |text: &str| text.replace(['[', ']'], "");
            prop_assert_eq!(bare(&unlinked(&name)), bare(&name));
        }

        #[test]
        fn an_address_links_to_itself_alone(local in "[a-z0-9./?=&#%!*_'+-]{1,20}") {
            let email = format!("{local}@evil.example");
            if crate::models::email::EmailAddress::parse(&email).is_ok() {
                for (is_address, link) in links_in(&address(&email)) {
                    prop_assert!(is_address, "{:?}", link);
                }
            }
        }
    }
}
