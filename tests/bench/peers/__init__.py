"""What people write first: honest minimal programs to compare with, each in one file, run by the benchmarks only."""
