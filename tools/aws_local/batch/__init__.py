"""The parts of the Batch job server."""
