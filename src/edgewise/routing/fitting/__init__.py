"""Which variant, which rule and which threshold cost least under a promise: one choice, made on recorded answers. Pure."""
