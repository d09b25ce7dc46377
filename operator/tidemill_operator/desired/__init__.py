"""What a job's objects look like. Pure builders: no I/O, no clock, no chance."""
