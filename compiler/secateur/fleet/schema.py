"""The tables of the controller's database.

Times are Unix seconds of the host unless a name says otherwise; JSON is kept as the bytes of the protocol's messages.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)

metadata = MetaData()

devices = Table(
    "devices",
    metadata,
    Column("device", String, primary_key=True),
    Column("public_key", String, comment="base64; NULL until a birth was admitted"),
    Column("birth", LargeBinary),
    Column("state", String, nullable=False, default=""),
    Column("state_reason", String, nullable=False, default=""),
    Column("boot", String, nullable=False, default=""),
    Column("reported", LargeBinary),
    Column("first_seen_s", Float, nullable=False),
    Column("last_seen_s", Float, nullable=False),
)

enrolments = Table(
    "enrolments",
    metadata,
    Column("token_key", String, primary_key=True, comment="public half of the token's key, base64; proves nothing"),
    Column("device", String, nullable=False),
    Column("created_s", Float, nullable=False),
    Column("expires_s", Float, comment="NULL: never"),
    Column("used_s", Float),
    Column("used_key", String, nullable=False, default="", comment="id of the device key that used it"),
    Column("revoked_s", Float),
    Column("note", String, nullable=False, default=""),
    Index("enrolments_by_device", "device"),
)

samples = Table(
    "samples",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True, comment="order of arrival; the cursor of readers"),
    Column("device", String, nullable=False),
    Column("boot", String, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("sample", LargeBinary, nullable=False),
    Column("received_s", Float, nullable=False),
    UniqueConstraint("device", "boot", "seq"),
    Index("samples_by_arrival", "device", "id"),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("device", String, nullable=False),
    Column("source", String, nullable=False, comment="device or host"),
    Column("kind", String, nullable=False),
    Column("boot", String, nullable=False, default=""),
    Column("wall_s", Float, nullable=False),
    Column("text", String, nullable=False),
    Column("evidence", LargeBinary, nullable=False),
    Column("digest", String, nullable=False, comment="of the message: MQTT delivers at least once"),
    UniqueConstraint("device", "digest"),
    Index("events_by_device", "device", "id"),
    sqlite_autoincrement=True,
)

bundles = Table(
    "bundles",
    metadata,
    Column("manifest_sha256", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("profile", String, nullable=False),
    Column("path", String, nullable=False),
    Column("workspace", String, nullable=False, default="", comment="'' if rungs cannot be re-cut"),
    Column("manifest", LargeBinary, nullable=False, comment="manifest.json as it was verified"),
    Column("registered_s", Float, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("path", String, nullable=False),
    Column("size", Integer, nullable=False),
)

recuts = Table(
    "recuts",
    metadata,
    Column("manifest_sha256", String, ForeignKey("bundles.manifest_sha256"), nullable=False),
    Column("rung", String, nullable=False),
    Column("precision", String, nullable=False),
    Column("entry", LargeBinary, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("recipe_sha256", String, nullable=False),
    Column("created_s", Float, nullable=False),
    PrimaryKeyConstraint("manifest_sha256", "rung"),
)

desired = Table(
    "desired",
    metadata,
    Column("device", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("updated_s", Float, nullable=False),
)

pushes = Table(
    "pushes",
    metadata,
    Column("device", String, nullable=False),
    Column("version", Integer, nullable=False, comment="of the desired shadow that began the push"),
    Column("manifest_sha256", String, nullable=False),
    Column("pushed_s", Float, nullable=False),
    Column("broadcast_bytes", Integer, nullable=False, default=0),
    Column("repair_bytes", Integer, nullable=False, default=0),
    PrimaryKeyConstraint("device", "version"),
)

commands = Table(
    "commands",
    metadata,
    Column("device", String, nullable=False),
    Column("id", String, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("body", String, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("expires_s", Float, nullable=False),
    Column("sent_s", Float, nullable=False),
    Column("status", String, nullable=False, default="sent"),
    Column("text", String, nullable=False, default=""),
    Column("result", LargeBinary, nullable=False, default=b"{}"),
    Column("finished_s", Float),
    PrimaryKeyConstraint("device", "id"),
    UniqueConstraint("device", "seq"),
)

asks = Table(
    "asks",
    metadata,
    Column("device", String, nullable=False),
    Column("id", String, nullable=False),
    Column("manifest_sha256", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("asked_s", Float, nullable=False),
    Column("status", String, nullable=False, comment="accepted, done or refused"),
    Column("text", String, nullable=False, default=""),
    Column("rung", String, nullable=False, default=""),
    Column("reused", Integer, nullable=False, default=0),
    Column("accuracy", Float),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("bytes", Integer, nullable=False, default=0),
    PrimaryKeyConstraint("device", "id"),
)
