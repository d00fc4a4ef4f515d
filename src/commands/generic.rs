//! Commands of the group generic.

use super::Row;

/// The rows.
pub const ROWS: &[Row] = &[];
