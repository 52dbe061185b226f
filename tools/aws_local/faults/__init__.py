"""The parts of the fault proxy."""
