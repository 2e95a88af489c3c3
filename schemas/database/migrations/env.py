"""Run the migrations on the connection that `schemas.database.engine.migrate` passes."""

from alembic import context

from schemas.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
