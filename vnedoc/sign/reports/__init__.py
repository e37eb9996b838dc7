"""Reports for people and machines: one module a form."""
