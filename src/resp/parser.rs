//! Bytes to requests: RESP arrays of bulk strings, and inline commands. The parser remembers how far it came, so that a
//! request that arrives a byte at a time costs no more than one that arrives whole.

/// How far the request at the start of the input has been understood.
#[derive(Debug, Default)]
pub struct RequestParser {}
