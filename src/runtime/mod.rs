//! The only room that knows glommio and io_uring.
