"""Keys that can sign: one module a kind."""
