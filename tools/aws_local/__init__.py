"""AWS on this machine: installed, started and stopped by `tools/aws-local`. Standard library only."""
