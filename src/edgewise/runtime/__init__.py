"""Sessions over the engines a device has: one protocol, validated inputs, proven placement."""
