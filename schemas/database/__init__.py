"""The fleet's database: tables, migrations, engine, and the queries that every reader shares."""
