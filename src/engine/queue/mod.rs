//! The queue: tasks, and their consumers.

mod transition;
