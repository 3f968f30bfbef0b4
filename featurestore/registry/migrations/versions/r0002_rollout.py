"""Removal, shares, approvals, identities, consents, what a model says of itself, and the audit log by action."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add them."""
    op.add_column("objects", sa.Column("removed_at", sa.BigInteger()))
    op.add_column("aliases", sa.Column("share", sa.Float(), nullable=False, server_default="1"))
    # A canary was only a name until now: it must not take every request because the server was upgraded.
    op.execute("UPDATE aliases SET share = 0 WHERE alias = 'canary'")
    op.add_column("aliases", sa.Column("moved_at", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("aliases", sa.Column("moved_by", sa.Text(), nullable=False, server_default=""))
    op.add_column("models", sa.Column("feature_importances", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("models", sa.Column("environment", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("models", sa.Column("removed_at", sa.BigInteger()))
    op.create_table(
        "promotions",
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("service", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("alias", sa.String(length=100), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.BigInteger()),
        sa.Column("decided_by", sa.Text()),
        sa.ForeignKeyConstraint(
            ["project", "service", "version"],
            ["versions.project", "versions.name", "versions.version"],
            name="fk_promotions_versions",
        ),
        sa.PrimaryKeyConstraint("project", "number"),
    )
    op.create_table(
        "identities",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("public_key", sa.String(length=100), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "consents",
        sa.Column("project", sa.String(length=100), nullable=False),
        sa.Column("view", sa.String(length=100), nullable=False),
        sa.Column("consumer", sa.String(length=100), nullable=False),
        sa.Column("given_at", sa.BigInteger(), nullable=False),
        sa.Column("given_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project", "view"], ["objects.project", "objects.name"], name="fk_consents_objects"),
        sa.PrimaryKeyConstraint("project", "view", "consumer"),
    )
    op.create_index("ix_audit_action", "audit", ["project", "action", "at"])
