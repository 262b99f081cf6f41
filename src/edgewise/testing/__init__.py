"""For tests, ours and yours: simulators, real servers on loopback, sample and hostile bundles."""
