//! The page behind an invitation's link: one file, compiled in, and the policy that lets a browser run nothing else.
//!
//! The policy names the page's script and style by their hash, made from the page itself: edit `invite.html`, and it follows.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

static PAGE: &str = include_str!("invite.html");

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let script = hash_source(content(PAGE, "<script>", "</script>"));
    let style = hash_source(content(PAGE, "<style>", "</style>"));
    format!(
        "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The page as it is served.
pub(crate) fn html() -> &'static str {
    PAGE
}

/// The value of its `Content-Security-Policy` header.
pub(crate) fn content_security_policy() -> &'static str {
    &POLICY
}

/// What stands between two tags, to the byte. A tag that is missing leaves nothing, and a policy that runs nothing.
fn content<'page>(page: &'page str, open: &str, close: &str) -> &'page str {
    page.split_once(open)
        .and_then(|(_, rest)| rest.split_once(close))
        .map_or("", |(content, _)| content)
}

/// The content as a source expression of CSP.
fn hash_source(content: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, content.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page without what stands inside its script and its style.
    fn markup() -> String {
        PAGE.replace(content(PAGE, "<script>", "</script>"), "")
            .replace(content(PAGE, "<style>", "</style>"), "")
    }

    #[test]
    fn a_hash_source_is_what_browsers_compute() {
        // The example of the CSP specification.
        assert_eq!(
            hash_source("alert('Hello, world.');"),
            "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
        );
    }

    #[test]
    fn the_policy_allows_this_script_and_this_style_alone() {
        let script = hash_source(content(html(), "<script>", "</script>"));
        let style = hash_source(content(html(), "<style>", "</style>"));
        assert_ne!(script, hash_source(""));
        assert_ne!(style, hash_source(""));

        let directives: Vec<&str> = content_security_policy().split("; ").collect();
        assert_eq!(
            directives,
            [
                "default-src 'none'",
                &format!("script-src {script}"),
                &format!("style-src {style}"),
                "connect-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ]
        );
    }

    #[test]
    fn the_policy_is_a_header_value() {
        assert!(
            content_security_policy()
                .bytes()
                .all(|byte| (b' '..=b'~').contains(&byte))
        );
    }

    #[test]
    fn the_page_has_one_script_and_one_style() {
        for name in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{name}")).count(), 1, "<{name}");
            assert_eq!(PAGE.matches(&format!("<{name}>")).count(), 1, "<{name}>");
            assert_eq!(PAGE.matches(&format!("</{name}>")).count(), 1, "</{name}>");
        }
    }

    #[test]
    fn no_element_has_a_handler_or_a_style_of_its_own() {
        let markup = markup().to_lowercase();
        let tags = markup
            .split('<')
            .skip(1)
            .map(|rest| rest.split('>').next().unwrap_or(rest));
        for tag in tags {
            for attribute in tag.split_whitespace().skip(1) {
                let name = attribute.split('=').next().unwrap_or(attribute);
                assert!(!name.starts_with("on") && name != "style", "<{tag}>");
            }
        }
    }

    #[test]
    fn the_page_asks_for_nothing_outside() {
        let page = PAGE.to_lowercase();
        for outside in [
            "http:", "https:", "\"//", "'//", "`//", "src=", "href=", "url(", "@import",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_script_writes_text_only_and_keeps_nothing() {
        let script = content(PAGE, "<script>", "</script>");
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Storage",
            "cookie",
            "indexedDB",
            "window.",
            "globalThis",
            "console.",
        ] {
            assert!(!script.contains(word), "{word}");
        }
    }

    #[test]
    fn the_bytes_hashed_are_the_bytes_a_browser_hashes() {
        // A browser reads CR LF as LF before it hashes.
        assert!(!PAGE.contains('\r'));
    }
}
