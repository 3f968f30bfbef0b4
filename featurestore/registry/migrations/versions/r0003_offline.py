"""Loads that were withdrawn, datasets that were removed, erased keys, and the files that erasures wrote anew."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add them."""
    op.add_column("loads", sa.Column("rows_suppressed", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("loads", sa.Column("withdrawn_at", sa.BigInteger()))
    op.add_column("datasets", sa.Column("removed_at", sa.BigInteger()))
    op.create_table(
        "suppressions",
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("join_keys", sa.String(length=400), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("request", sa.String(length=100), nullable=False),
        sa.Column("erased_at", sa.BigInteger(), nullable=False),
        sa.Column("erased_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "join_keys", "digest"),
    )
    op.create_table(
        "rewritten_files",
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("storage_id", sa.String(length=200), nullable=False),
        sa.Column("file", sa.String(length=400), nullable=False),
        sa.Column("replaced_by", sa.String(length=400)),
        sa.Column("rows_erased", sa.BigInteger(), nullable=False),
        sa.Column("request", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("project", "storage_id", "file"),
    )
