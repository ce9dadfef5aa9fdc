//! errcode
