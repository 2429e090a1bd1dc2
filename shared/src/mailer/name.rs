//! Names that people chose, in a form for mails: no mail program turns them into links, and no name ends its quotation.
//!
//! A name that would form a link keeps its letters and gets brackets, as in `win at evil[.]example`, the notation of
//! security reports. Nothing is hidden and nothing invisible is added. A name that would form no link is unchanged,
//! such as `Acme Inc.`, `J.R.R. Tolkien` or `3.5 tons`.

/// The characters of a name that a subject shows.
const IN_SUBJECT_MAX: usize = 80;
/// Separators of domain labels: the full stop and its equivalents in IDNA (RFC 3490 §3.1).
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];
/// Schemes that form links without `//`.
const BARE_SCHEMES: [&str; 5] = ["mailto", "tel", "sms", "facetime", "skype"];

/// Puts brackets around the dots of domains and the colons of schemes.
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

/// Puts `name` in double quotes for a plain text. Double quotes in the name become single quotes.
pub(super) fn quoted(name: &str) -> String {
    let inner = unlinked(name).replace(is_double_quote, "'");
    format!("\"{inner}\"")
}

/// Shortens `name` and puts it on one line, for a subject.
pub(super) fn in_subject(name: &str) -> String {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let line: String = name
        .chars()
        .map(|c| if is_break(c) { ' ' } else { c })
        .take(IN_SUBJECT_MAX)
        .collect();
    unlinked(&line)
}

/// Formats an e-mail address. Mail programs may link it to itself, and to nothing else: brackets are put into a local
/// part that looks like a site.
pub(super) fn address(email: &str) -> String {
    match email.rsplit_once('@') {
        Some((local, domain)) if !is_plain(local) => format!("{}@{domain}", unlinked(local)),
        _ => email.to_owned(),
    }
}

/// Whether a local part has only usual characters, and does not look like a site.
fn is_plain(local: &str) -> bool {
    let is_usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '\'');
    local.chars().all(is_usual) && !local.starts_with("www.")
}

/// Whether `c`, between `before` and `after`, forms a link with them.
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
    // Repeated dots do not occur in a domain.
    if !DOTS.contains(&c) || !touches(before.last()) || before.last() == Some(&c) {
        return false;
    }
    // A top-level domain has at least two characters. Mail programs ignore invisible characters between them.
    let label = after
        .iter()
        .filter(|c| !is_invisible(**c))
        .take_while(|c| c.is_alphanumeric() || **c == '-');
    let label: Vec<&char> = label.collect();
    let is_domain = label.len() >= 2 && label.iter().any(|c| c.is_alphabetic());
    is_domain || (word() == "www" && !label.is_empty())
}

fn is_invisible(c: char) -> bool {
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

    /// The links that a mail program recognizes in a text, including sites without a scheme, and whether each is an
    /// address.
    fn links_in(text: &str) -> Vec<(bool, String)> {
        let mut finder = LinkFinder::new();
        finder.url_must_have_scheme(false);
        let links = finder.links(text);
        links
            .map(|link| (*link.kind() == LinkKind::Email, link.as_str().to_owned()))
            .collect()
    }

    #[test]
    fn ordinary_names_are_unchanged() {
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
        fn no_name_forms_a_link(parts in prop::collection::vec(prop_oneof![
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
            // Only brackets are added, so that the name stays readable.
            let bare = |text: &str| text.replace(['[', ']'], "");
            prop_assert_eq!(bare(&unlinked(&name)), bare(&name));
        }

        #[test]
        fn an_address_links_only_to_itself(local in "[a-z0-9./?=&#%!*_'+-]{1,20}") {
            let email = format!("{local}@evil.example");
            if crate::models::email::EmailAddress::parse(&email).is_ok() {
                for (is_address, link) in links_in(&address(&email)) {
                    prop_assert!(is_address, "{:?}", link);
                }
            }
        }
    }
}
