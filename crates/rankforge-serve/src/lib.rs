//! HTTP, queue and batching over the encoder; cannot see training code.
#![forbid(unsafe_code)]
