//! The AWS target on the stand-in: the real binary plans and submits, and the stand-in's Batch server
//! runs it again as the workers.

mod chaos;
mod pipeline;
mod stand_in;
