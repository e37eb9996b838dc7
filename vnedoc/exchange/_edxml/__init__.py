"""How edXML is spelled: names, reading, writing."""
