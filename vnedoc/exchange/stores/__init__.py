"""Where messages are kept: models, migrations, payloads."""
