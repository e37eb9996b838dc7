"""The only home of pyHanko: what it offers, in our words."""
