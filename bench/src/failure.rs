//! Why a measurement could not be made: what was tried, with the cause beneath it. Told once, at the edge.

use std::error::Error;
use std::fmt;

/// One step that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    doing: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure that has no cause beneath it.
    pub(crate) fn new(doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), source: None }
    }
}

impl fmt::Display for Failure {
    /// With all its causes: it is printed only once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        self.source.as_ref().map_or(Ok(()), |source| write!(f, ": {source}"))
    }
}

impl Error for Failure {}

/// Says what was tried when an error passes by.
pub(crate) trait Doing<T> {
    /// Puts `what` above the error.
    fn doing(self, what: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|source| Failure { doing: what.into(), source: Some(source.into()) })
    }
}
