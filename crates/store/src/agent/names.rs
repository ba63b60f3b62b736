//! Enums that travel by name, in columns and in JSON alike.

use crate::db::Row;
use crate::error::StoreError;

/// A text that names none of the choices. Its `Display` lists them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{typed:?} is none of {choices}")]
pub struct UnknownName {
    pub(super) typed: String,
    pub(super) choices: &'static str,
}

/// Gives an enum without fields its names: `name`, `Display` and `FromStr`.
macro_rules! named {
    ($enum:ident, { $first:ident => $first_name:literal $(, $variant:ident => $name:literal)* $(,)? }) => {
        impl $enum {
            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    Self::$first => $first_name,
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $enum {
            type Err = $crate::agent::UnknownName;

            fn from_str(typed: &str) -> Result<Self, Self::Err> {
                match typed {
                    $first_name => Ok(Self::$first),
                    $($name => Ok(Self::$variant),)*
                    _ => Err($crate::agent::UnknownName {
                        typed: typed.chars().take(40).collect(),
                        choices: concat!($first_name $(, ", ", $name)*),
                    }),
                }
            }
        }
    };
}
pub(super) use named;

/// The column `column`, which holds a name and is never NULL.
pub(super) fn read<T: std::str::FromStr<Err = UnknownName>>(row: &Row, column: &'static str) -> Result<T, StoreError> {
    let name: String = row.get(column)?;
    name.parse().map_err(|unknown| row.misfit(column, unknown))
}
