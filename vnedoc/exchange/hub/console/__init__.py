"""The console of a hub: pages for people who look and, if they may, try a delivery again."""
