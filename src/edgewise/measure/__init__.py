"""Where every number comes from: metrics with intervals, latency, memory, placement; receipts; the choice of a variant."""
