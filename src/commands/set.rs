//! Commands of the group set.

use super::Row;

/// The rows.
pub const ROWS: &[Row] = &[];
