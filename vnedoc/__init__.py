"""vnedoc signs, verifies and exchanges the administrative documents of Vietnamese state agencies."""
