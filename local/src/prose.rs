//! Plain text as a page shows it: its links can be followed, its `code` stands out. Escaping is the template's.

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Words as they are.
    Words(&'a str),
    /// An `http` or `https` address.
    Link(&'a str),
    /// What stood between two backticks.
    Code(&'a str),
}

/// Ends an address: white space and what no address holds unescaped.
const ENDS_ADDRESS: [char; 5] = ['<', '>', '"', '`', '|'];
/// What ends a sentence rather than an address.
const ENDS_SENTENCE: [char; 9] = ['.', ',', ';', ':', '!', '?', ')', ']', '\''];

/// Splits a text around its `http` and `https` addresses. Joined again, the pieces are the text.
pub(crate) fn links(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut searched = 0;
    while let Some(offset) = rest[searched..].find("http") {
        let start = searched + offset;
        let length = address_length(&rest[start..]);
        if length == 0 {
            searched = start + "http".len();
            continue;
        }
        let (before, found) = rest.split_at(start);
        let (address, after) = found.split_at(length);
        if !before.is_empty() {
            pieces.push(Piece::Words(before));
        }
        pieces.push(Piece::Link(address));
        rest = after;
        searched = 0;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Words(rest));
    }
    pieces
}

/// How many bytes of the address that `text` begins with; 0 when it begins with none.
fn address_length(text: &str) -> usize {
    let Some(after_scheme) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return 0;
    };
    let end = text
        .find(|letter: char| letter.is_whitespace() || ENDS_ADDRESS.contains(&letter))
        .unwrap_or(text.len());
    let length = text[..end].trim_end_matches(ENDS_SENTENCE).len();
    let scheme = text.len() - after_scheme.len();
    if length > scheme { length } else { 0 }
}

/// Splits a text at its backticks; an odd one at the end stays as it is.
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
    fn addresses_become_links() {
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
    fn backticks_become_code() {
        assert_eq!(
            code("the `detail` list"),
            [Words("the "), Code("detail"), Words(" list")]
        );
        assert_eq!(code("one ` alone"), [Words("one ` alone")]);
        assert_eq!(code("`a``b`"), [Code("a"), Code("b")]);
    }
}
