"""Ways to an axis: one module a kind."""
