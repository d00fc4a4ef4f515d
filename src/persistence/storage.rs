//! The seam to the disk.
