//! The macro that turns the table of errors into types.

/// Defines the errors of the API. A code has one or more variants, each with its payload, its status and its text.
// `$name` is a `tt`: a `literal` reaches utoipa's derive in an invisible group, and utoipa ignores the name.
macro_rules! error_table {
    ($($code:ident $name:tt {
        $($variant:ident $(($payload:ty))?: $status:ident, $detail:literal;)+
    })+) => {
        /// The reason why a request failed. The payload of [`Error::Unavailable`] and [`Error::Internal`] is for the
        /// log only. On [`Error::Stale`], [`crate::store::retry_on_conflict`] repeats the decision from a fresh read. The
        /// client gets the 503 only at the request's deadline.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Error {
            $($(
                #[doc = concat!("`", $name, "`: ", $detail)]
                $variant $(($payload))?,
            )+)+
        }

        /// The machine-readable error codes of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
        // utoipa does not see a `rename` whose text comes from a macro. A test compares these names with `as_str`.
        #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
        pub enum Code {
            $(
                #[doc = concat!("`", $name, "`.")]
                $code,
            )+
        }

        impl Code {
            /// Every code, sorted by its name.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$code),+];

            /// Returns the code as a response has it, such as `LAST_OWNER`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)+
                }
            }
        }

        /// The rows of the table, sorted by code.
        pub const ROWS: &[ErrorRow] = &[
            $($(<refusal::$variant as refusal::Refusal>::ROW,)+)+
        ];

        impl Error {
            /// The error's row in the table.
            #[must_use]
            pub const fn row(&self) -> ErrorRow {
                match self {
                    $($(Self::$variant { .. } => <refusal::$variant as refusal::Refusal>::ROW,)+)+
                }
            }
        }

        /// One type for each error, by which a route names its errors in its `utoipa` annotation:
        /// `responses((status = 200, ...), Refusals<(Forbidden, MemberNotFound)>)`.
        pub mod refusal {
            use super::{Code, ErrorRow, StatusCode};

            /// An error that a route names.
            pub trait Refusal {
                /// The error's row in the table.
                const ROW: ErrorRow;
            }

            $($(
                #[doc = concat!("`", $name, "`: ", $detail)]
                #[derive(Clone, Copy, Debug)]
                pub struct $variant;

                impl Refusal for $variant {
                    const ROW: ErrorRow = ErrorRow {
                        status: StatusCode::$status,
                        code: Code::$code,
                        detail: $detail,
                    };
                }
            )+)+
        }
    };
}

pub(super) use error_table;
