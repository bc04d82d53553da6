//! Tests of the restore against a model of a store.

mod cases;
mod model;
mod naive;
mod order;
mod output;
mod stored;
