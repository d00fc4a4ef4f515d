//! Commands of the group server.

use super::Row;

/// The rows.
pub const ROWS: &[Row] = &[];
