//! What we intend to have: manifest rows, CSV in and out, and the plan.
