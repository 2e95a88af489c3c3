"""The fleet database: tables, migrations, engine, queries."""
