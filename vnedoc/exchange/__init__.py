"""edXML packages and their transport between agencies."""
