"""Where the published numbers come from: both sides in one run, written to docs/benchmarks."""
