"""Who may say so: keys, signatures, and what a bundle's evidence proves. SECURITY.md says what it does not."""
