"""Who answers: the device by itself, or somebody upstream, under a promise."""
