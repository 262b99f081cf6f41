"""Making a bundle: fragments joined, one interface, golden set recorded, variants compared, all of it measured and signed."""
