"""Learning on a device, with the step that came in a bundle."""
