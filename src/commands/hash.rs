//! Commands of the group hash.

use super::Row;

/// The rows.
pub const ROWS: &[Row] = &[];
