//! The page that an invitation's link opens: one HTML file, compiled into the binary, and its content security policy.
//!
//! The policy permits only the page's own script and style, by their hashes. The hashes are computed from
//! `invite.html`, so an edit of the page needs no change here.

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

/// The page's HTML.
pub(crate) fn html() -> &'static str {
    PAGE
}

/// The value of the page's `Content-Security-Policy` header.
pub(crate) fn content_security_policy() -> &'static str {
    &POLICY
}

/// The bytes between two tags. If a tag is missing, the content is empty and the policy permits no script or style.
fn content<'page>(page: &'page str, open: &str, close: &str) -> &'page str {
    page.split_once(open)
        .and_then(|(_, rest)| rest.split_once(close))
        .map_or("", |(content, _)| content)
}

/// The CSP source expression that permits the content by its hash.
fn hash_source(content: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, content.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page without the content of its script and style elements.
    fn markup() -> String {
        PAGE.replace(content(PAGE, "<script>", "</script>"), "")
            .replace(content(PAGE, "<style>", "</style>"), "")
    }

    #[test]
    fn a_hash_source_matches_the_example_of_the_csp_specification() {
        assert_eq!(
            hash_source("alert('Hello, world.');"),
            "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
        );
    }

    #[test]
    fn the_policy_permits_only_the_page_s_own_script_and_style() {
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
    fn the_policy_is_a_valid_header_value() {
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
    fn no_element_has_an_inline_event_handler_or_style() {
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
    fn the_page_refers_to_no_other_host() {
        let page = PAGE.to_lowercase();
        for outside in [
            "http:", "https:", "\"//", "'//", "`//", "src=", "href=", "url(", "@import",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_script_inserts_no_html_and_stores_nothing() {
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
    fn the_page_has_no_carriage_returns() {
        // A browser converts CR LF to LF before it hashes, so the hashes would differ.
        assert!(!PAGE.contains('\r'));
    }
}
