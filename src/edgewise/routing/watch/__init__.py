"""The promise in use: what a device watches after a threshold was fitted, and what it does when the promise no longer holds."""
