"""Small tools that the whole house stands on; not public."""
