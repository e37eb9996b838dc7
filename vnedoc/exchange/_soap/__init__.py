"""The SOAP service of the eDoc platform: its envelopes, its description, and packages as SOAP with attachments."""
