//! Splits plain text into words, links and code, so that a page can render each. The template escapes the pieces.

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Text without markup.
    Words(&'a str),
    /// An `http` or `https` URL.
    Link(&'a str),
    /// The text between two backticks.
    Code(&'a str),
}

/// Characters besides white space that end a URL, because a URL contains them only escaped.
const URL_TERMINATORS: [char; 5] = ['<', '>', '"', '`', '|'];
/// Characters that belong to the sentence, not to the URL, when they follow a URL.
const PUNCTUATION: [char; 9] = ['.', ',', ';', ':', '!', '?', ')', ']', '\''];

/// Splits a text into URLs and the words between them. The pieces joined are the text again.
pub(crate) fn links(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut searched = 0;
    while let Some(offset) = rest[searched..].find("http") {
        let start = searched + offset;
        let length = url_length(&rest[start..]);
        if length == 0 {
            searched = start + "http".len();
            continue;
        }
        let (before, found) = rest.split_at(start);
        let (url, after) = found.split_at(length);
        if !before.is_empty() {
            pieces.push(Piece::Words(before));
        }
        pieces.push(Piece::Link(url));
        rest = after;
        searched = 0;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Words(rest));
    }
    pieces
}

/// The length in bytes of the URL at the start of `text`; 0 when `text` does not start with a URL.
fn url_length(text: &str) -> usize {
    let Some(after_scheme) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return 0;
    };
    let end = text
        .find(|letter: char| letter.is_whitespace() || URL_TERMINATORS.contains(&letter))
        .unwrap_or(text.len());
    let length = text[..end].trim_end_matches(PUNCTUATION).len();
    let scheme = text.len() - after_scheme.len();
    if length > scheme { length } else { 0 }
}

/// Splits a text into code, which is between two backticks, and words. A backtick without a partner stays in the words.
pub(crate) fn code(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('`')
        && let Some((inside, after)) = after.split_once('`')
    {
        if !before.is_empty() {
            pieces.push(Piece::Words(before));
        }
        if !inside.is_empty() {
            pieces.push(Piece::Code(inside));
        }
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Words(rest));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::{
        Piece::{Code, Link, Words},
        *,
    };

    #[test]
    fn urls_become_links() {
        let text =
            "Join: http://127.0.0.1:3000/invite#invite_id=1&token=a-b_c.\nhttps:// and javascript:alert(1) do not";
        assert_eq!(
            links(text),
            [
                Words("Join: "),
                Link("http://127.0.0.1:3000/invite#invite_id=1&token=a-b_c"),
                Words(".\nhttps:// and javascript:alert(1) do not"),
            ]
        );
        assert_eq!(
            links("(https://a.example/x)"),
            [Words("("), Link("https://a.example/x"), Words(")")]
        );
        assert_eq!(
            links("<https://a.example>"),
            [Words("<"), Link("https://a.example"), Words(">")]
        );
        assert_eq!(links("über http"), [Words("über http")]);
        assert_eq!(links(""), []);
    }

    #[test]
    fn text_in_backticks_becomes_code() {
        assert_eq!(
            code("the `detail` list"),
            [Words("the "), Code("detail"), Words(" list")]
        );
        assert_eq!(code("one ` alone"), [Words("one ` alone")]);
        assert_eq!(code("`a``b`"), [Code("a"), Code("b")]);
    }
}
