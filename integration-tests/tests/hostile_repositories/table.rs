//! A row: what is hostile, how it is made, and what is said of it.

/// What has to become of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// The commit is refused with this text.
    Refused(&'static str),
    /// Nothing is fetched, for this reason.
    NotFetched(&'static str),
    /// It does no harm, and runs.
    Runs,
}

/// One of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// In the words of objects.py.
    pub(crate) made: &'static str,
    pub(crate) expected: Expected,
}

pub(crate) const fn refused(name: &'static str, made: &'static str, says: &'static str) -> Row {
    Row { name, made, expected: Expected::Refused(says) }
}

pub(crate) const fn not_fetched(name: &'static str, made: &'static str, says: &'static str) -> Row {
    Row { name, made, expected: Expected::NotFetched(says) }
}

pub(crate) const fn runs(name: &'static str, made: &'static str) -> Row {
    Row { name, made, expected: Expected::Runs }
}
