//! The controller's model: tests alone, in a crate of their own so that an edit of them compiles nothing else.

#[cfg(test)]
mod model;
