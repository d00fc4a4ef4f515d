//! Commands of the group list.

use super::Row;

/// The rows.
pub const ROWS: &[Row] = &[];
