//! The page of a list that a request asks for: `limit`, `cursor` and, where a list has it, `offset`.

use super::query::Params;
use crate::error::{Error, FieldError};
use crate::models::workspace::Workspace;
use crate::store::cursor::{ClaimedCursor, List, Position};

/// What a list accepts as a page.
#[derive(Clone, Copy, Debug)]
pub struct PageRules {
    /// The list that the cursor belongs to.
    pub list: List,
    /// Rows in one response at most, and by default.
    pub limit_max: usize,
    /// Rows that can be skipped at most; none when the list has no `offset`.
    pub offset_max: Option<usize>,
    /// The names of the cursor's parameter. The first one that the request has counts.
    pub cursor_names: &'static [&'static str],
}

/// The page that a request asks for.
#[derive(Debug)]
pub struct PageIn {
    /// Rows in the response at most.
    pub limit: usize,
    /// Rows to skip.
    pub offset: usize,
    list: List,
    cursor: Option<ClaimedCursor>,
}

impl PageIn {
    /// Parses the parameters of a page. [`Error::Validation`] names each malformed parameter.
    pub fn parse(params: &Params, rules: &PageRules) -> Result<Self, Error> {
        let mut errors = Vec::new();
        let mut whole = |name, default, range: std::ops::RangeInclusive<usize>| {
            let Some(text) = params.get(name) else { return default };
            Params::whole(text)
                .filter(|number| range.contains(number))
                .unwrap_or_else(|| {
                    let (first, last) = (range.start(), in_thousands(*range.end()));
                    let msg = format!("must be a whole number from {first} to {last}");
                    errors.push(FieldError::query(name, &msg));
                    default
                })
        };
        let limit = whole("limit", rules.limit_max, 1..=rules.limit_max);
        let offset = rules.offset_max.map_or(0, |most| whole("offset", 0, 0..=most));
        let text = rules.cursor_names.iter().find_map(|name| params.get(name));
        let cursor = text.and_then(ClaimedCursor::parse);
        if text.is_some() && cursor.is_none() {
            errors.push(bad_cursor());
        }
        if !errors.is_empty() {
            return Err(Error::Validation(errors));
        }
        Ok(Self {
            limit,
            offset,
            list: rules.list,
            cursor,
        })
    }

    /// The position that the cursor claims, before [`PageIn::position`] has checked the cursor. Reading from it is harmless,
    /// since every read stays in the caller's own workspace.
    #[must_use]
    pub fn claimed_position(&self) -> Option<Position> {
        self.cursor.as_ref().map(ClaimedCursor::position)
    }

    /// The position at which the page starts. [`Error::Validation`] when the cursor was not made for this list of
    /// `workspace`.
    pub fn position(&self, workspace: &Workspace) -> Result<Option<Position>, Error> {
        match &self.cursor {
            Some(cursor) if !cursor.is_of(workspace, self.list) => Err(Error::Validation(vec![bad_cursor()])),
            _ => Ok(self.claimed_position()),
        }
    }
}

/// A number below 10⁹ with a comma between thousands, as error texts show it.
fn in_thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

fn bad_cursor() -> FieldError {
    FieldError::query("cursor", "must be the next_cursor of an earlier answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_shown_with_commas() {
        assert_eq!(in_thousands(100), "100");
        assert_eq!(in_thousands(1_000_000), "1,000,000");
    }
}
